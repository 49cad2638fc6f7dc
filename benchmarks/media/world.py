"""The running stack with a large library, and what may be asked about in it."""

import os
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg

from benchmarks.media import building
from benchmarks.media.building import Size
from coursehub.stack import parts
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.stack import Stack
from demo.client import Api

_KEPT_LOGIN = "librarian.login"
Row = tuple[object, ...]


class World:
    """A CourseHub with its library's owner (``api``) and a colleague, who edits the same courses."""

    def __init__(self, stack: Stack, api: Api, colleague: Api) -> None:
        self.stack, self.api, self.colleague = stack, api, colleague
        self.database = psycopg.connect(stack.env["DATABASE_URL"], autocommit=True)
        self.owner = UUID(api.user["id"])
        self._names: dict[str, list[str]] = {}
        self._places: dict[str, list[tuple[object, UUID]]] = {}

    def rows(self, statement: str, *values: object) -> list[Row]:
        """Ask the database itself."""
        return self.database.execute(building._text(statement), values).fetchall()

    def ready(self) -> None:
        """
        Learn what is there, and let this process know the product as its own do.

        The library has been in use: its pages are in PostgreSQL's memory, as far as it has room for them.
        """
        self.database.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
        self.database.execute(_READ)
        for name, statement in _WHAT_IS_THERE.items():
            self._names[name] = [str(value) for (value,) in self.rows(statement, self.owner)]
        os.environ.update(self.stack.env | {"DJANGO_SETTINGS_MODULE": "coursehub.settings"})
        import django

        django.setup()
        self._learn_places()

    def _learn_places(self) -> None:
        from apps.media.paging import ORDERS

        for name, order in ORDERS.items():
            statement = f"SELECT {order.expression}, id FROM media_media WHERE id = ANY(%s)"
            self._places[name] = self.rows(statement, [UUID(id_) for id_ in self._names["any"]])  # type: ignore[assignment]

    def choose(self, dice: random.Random) -> dict[str, str]:
        """Draw what stands for the names in a question's path."""
        drawn = {name: dice.choice(values) for name, values in self._names.items()}
        week = dice.randrange(150)
        return drawn | {"week_from": self._week(week), "week_to": self._week(week - 1)}

    @staticmethod
    def _week(ago: int) -> str:
        return (datetime.now(UTC) - timedelta(weeks=ago)).strftime("%Y-%m-%dT00:00:00Z")

    def cursor(self, order: str, dice: random.Random) -> str:
        """Make a cursor somewhere down a list."""
        from apps.media.paging import Ordering

        ordering = Ordering.read(order)
        return ordering.cursor(*dice.choice(self._places[ordering.name]))

    def close(self) -> None:
        for one in (self.api, self.colleague, self.database):
            one.close()


_READ = """
    SELECT pg_prewarm(oid::regclass) FROM pg_class
    WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace AND relpages > 0
"""
_WHAT_IS_THERE = {
    "any": "SELECT id FROM (SELECT id FROM media_media TABLESAMPLE bernoulli(1) REPEATABLE (1) WHERE owner_id = %s) a"
    " ORDER BY random() LIMIT 400",
    "used": "SELECT id FROM media_media WHERE owner_id = %s AND NOT trashed AND used ORDER BY id DESC LIMIT 400",
    "unused": "SELECT id FROM media_media WHERE owner_id = %s AND NOT trashed AND NOT used ORDER BY id DESC LIMIT 400",
    "much_used": "SELECT id FROM media_media WHERE owner_id = %s ORDER BY link_count DESC LIMIT 1",
    "trashed": "SELECT id FROM media_media WHERE owner_id = %s AND trashed LIMIT 400",
    "course": "SELECT id FROM courses_course WHERE owner_id = %s LIMIT 400",
    "chapter": "SELECT id FROM courses_chapter WHERE course_id IN (SELECT id FROM courses_course WHERE owner_id = %s)"
    " LIMIT 400",
    "video": "SELECT id FROM courses_video WHERE course_id IN (SELECT id FROM courses_course WHERE owner_id = %s)"
    " LIMIT 400",
    "word": "SELECT split_part(lower(name), ' ', 2) FROM media_media WHERE owner_id = %s LIMIT 400",
    "other": "SELECT split_part(lower(name), ' ', 1) FROM media_media WHERE owner_id = %s LIMIT 400",
    "number": "SELECT substring(name from '([0-9]+)[.]') FROM media_media WHERE owner_id = %s LIMIT 400",
}


@contextmanager
def running(size: Size, keep: Path | None, say: Callable[[str], None]) -> Iterator[World]:
    """Run the stack with its data on the disk; ``keep``: a directory in which the library stays for the next time."""
    data = DataDirectory.open(keep) if keep else DataDirectory.temporary(in_memory=False)
    login = data.path / _KEPT_LOGIN
    with Stack(data, names=parts.DEFAULT, given={"THROTTLE_USER": "0"}, login=False) as stack:
        is_new = not login.exists()
        password = secrets.token_urlsafe(16) if is_new else login.read_text()
        people = [_person(stack, name, password, is_new) for name in ("librarian", "colleague")]
        world = World(stack, *people)
        try:
            if is_new:
                _fill(world, size, say)
                login.write_text(password)
            world.ready()
            yield world
        finally:
            world.close()


def _person(stack: Stack, name: str, password: str, is_new: bool) -> Api:
    api = Api(stack.api_url)
    return api.register(name, password) if is_new else api.sign_in(name, password)


def _fill(world: World, size: Size, say: Callable[[str], None]) -> None:
    building.build(world.database, world.owner, size, say)
    world.database.execute(_COLLEAGUES, [world.colleague.user["id"]])
    world.database.execute(_COLLEAGUES_FILE, [world.colleague.user["id"]])


_COLLEAGUES = """
    INSERT INTO courses_membership (id, course_id, user_id, role)
    SELECT gen_random_uuid(), id, %s, 'editor' FROM courses_course
"""
_COLLEAGUES_FILE = """
    INSERT INTO media_media (id, owner_id, name, category, status, content_type, size, link_count, version, created_at,
        updated_at)
    VALUES (gen_random_uuid(), %s, 'theirs', 'other', 'complete', '', 0, 0, 1, now(), now())
"""
