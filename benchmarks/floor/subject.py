"""The floor's users: the same requests in number and size, to a view that checks nothing."""

import uuid
from collections.abc import Callable

import psycopg

from benchmarks.subjects import Request, Saver, Screen
from broadcast.contracts import tickets
from demo.client import Api, Hear, Json, Listener

USERS = 20
ROWS = 2_500


class Floor:
    """What is left of a save without guarantees. Rows stand in for whatever is edited."""

    name = "floor"

    def __init__(self, url: str, websocket_url: str, database_url: str, ticket_secret: str) -> None:
        self._url, self._websocket_url, self._secret = url, websocket_url, ticket_secret
        self._rows = [str(uuid.uuid4()) for _ in range(ROWS)]
        with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE floor_item (id uuid PRIMARY KEY, title text, updated_at timestamptz)")
            cursor.executemany("INSERT INTO floor_item VALUES (%s, 'New', now())", [(row,) for row in self._rows])

    def alone(self) -> list[Saver]:
        return [self._titles(_new_topic(), 0)]

    def apart(self) -> list[Saver]:
        return [self._titles(_new_topic(), number) for number in range(USERS)]

    def together(self) -> list[Saver]:
        topic = _new_topic()
        return [self._titles(topic, number) for number in range(USERS)]

    def batches(self, size: int) -> Saver:
        """One user who writes so many rows at once."""
        topic = _new_topic()
        body = {"topic": topic, "changes": [_change(row, n) for n, row in enumerate(self._rows[:size])]}
        return self._saver(topic, "floor-end" if size > 1 else "floor-update", lambda _: ("POST", "/save/", body))

    def _titles(self, topic: str, row: int) -> Saver:
        id_ = self._rows[row]
        return self._saver(
            topic, "floor-update", lambda n: ("POST", "/save/", {"topic": topic, "changes": [_change(id_, n)]})
        )

    def _saver(self, topic: str, shown_by: str, request: Callable[[int], Request]) -> Saver:
        return Saver(Api(self._url), Screen(lambda hear: self._listen(topic, hear)), request, shown_by)

    def _listen(self, topic: str, hear: Hear) -> Listener:
        user = str(uuid.uuid4())
        ticket, _ = tickets.issue(secret=self._secret, user_id=user, seqs={f"user:{user}": 0, topic: 0})
        listener = Listener(self._websocket_url, ticket, hear=hear)
        listener.subscribe(topic)
        return listener


def _new_topic() -> str:
    return f"course:{uuid.uuid4()}"


def _change(row: str, number: int) -> Json:
    return {"id": row, "title": f"A title of about forty characters, {number:05}"}
