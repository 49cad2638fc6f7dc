"""Pages of a library in any of its orders: a cursor holds the last row's value and id; nothing repeats or is missed."""

import base64
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from apps.core import errors, incoming
from apps.core.schemas import storable


@dataclass(frozen=True, slots=True)
class Order:
    """
    An order of a library: an SQL expression that an index has, and how its values are written into cursors.

    ``after`` are the columns that another index has before it, each by itself; ``also_in_trash``, if that has the
    trash as well. ``beside`` are those that the index has too: with no others, the table need not be read.
    """

    expression: str
    type: type
    after: tuple[str, ...] = ()
    also_in_trash: bool = False
    beside: tuple[str, ...] = ()


ORDERS = {
    "created": Order("created_at", datetime, after=("category", "used")),
    "name": Order("lower_name", str, beside=("lower_name", "category", "used")),
    "size": Order("size", int, after=("category",), also_in_trash=True),
    "lastUsed": Order("coalesce(last_used_at, '1970-01-01 00:00:00+00:00'::timestamptz)", datetime, after=("used",)),
}
_ALIASES = {"createdAt": "created", "lastUsedAt": "lastUsed"}


@dataclass(frozen=True, slots=True)
class Ordering:
    """An order, and its direction."""

    name: str
    descending: bool

    @classmethod
    def read(cls, text: str) -> "Ordering":
        """Read ``name`` or ``-name``, which is the other way round."""
        name = text.removeprefix("-")
        return cls(_ALIASES.get(name, name), text.startswith("-"))

    @property
    def expression(self) -> str:
        """What is ordered by."""
        return ORDERS[self.name].expression

    def led_by(self, columns: Collection[str], *, trashed: bool) -> set[str]:
        """Choose among columns with conditions those that an index of this order has, so that it need not look on."""
        order = ORDERS[self.name]
        after = order.after if order.also_in_trash or not trashed else ()
        return {order.expression} & set(columns) | {*[name for name in after if name in columns][:1]}

    def has(self, columns: Collection[str]) -> bool:
        """Say whether its index alone tells about these columns."""
        return {*columns} <= {*ORDERS[self.name].beside}

    @property
    def sql(self) -> str:
        """The ORDER BY clause."""
        return self._by(self.expression)

    @property
    def by_place(self) -> str:
        """The ORDER BY clause where the expression's value is called ``place``."""
        return self._by("place")

    def _by(self, what: str) -> str:
        direction = "DESC" if self.descending else "ASC"
        return f"{what} {direction}, id {direction}"

    def after(self, cursor: str, what: str = "") -> tuple[str, list[Any]]:
        """
        Make the condition for rows that come after a cursor's; ``what`` is the expression's value, where it has a name.

        Raises:
            errors.Invalid: it is no cursor of this order.
        """
        return self.beyond(*self._read(cursor), what)

    def beyond(self, value: Any, id_: UUID, what: str = "") -> tuple[str, list[Any]]:
        """Make the condition for rows that come after one with this value and id."""
        return f"({what or self.expression}, id) {'<' if self.descending else '>'} (%s, %s)", [value, id_]

    def place(self, cursor: str) -> Any:
        """Read the value of a cursor's row in this order."""
        return self._read(cursor)[0]

    def cursor(self, value: Any, id_: UUID) -> str:
        """Name a row by its value in this order, and its id."""
        written = value.isoformat() if isinstance(value, datetime) else value
        return _encode([self.name, self.descending, written, str(id_)])

    def _read(self, cursor: str) -> tuple[Any, UUID]:
        try:
            name, descending, written, id_ = _decode(cursor)
            if (name, descending) != (self.name, self.descending):
                raise ValueError("a cursor of another order")
            return self._value(written), UUID(id_)
        except (ValueError, TypeError, AttributeError):
            raise errors.Invalid(fields={"cursor": ["This is no cursor of this list in this order."]}) from None

    def _value(self, written: Any) -> Any:
        kind: Any = ORDERS[self.name].type
        if kind is datetime:
            value = datetime.fromisoformat(written)
            if value.tzinfo is None:
                raise ValueError("no time zone")
            return value
        if type(written) is not kind or (kind is int and abs(written) >= 2**63):
            raise ValueError("another type")
        return storable(written) if kind is str else written


def _encode(parts: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts, ensure_ascii=False).encode()).decode().rstrip("=")


def _decode(cursor: str) -> list[Any]:
    raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    parts = incoming.read_json(raw.decode())
    if not isinstance(parts, list) or len(parts) != 4:
        raise ValueError("not four parts")
    return parts
