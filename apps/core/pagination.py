"""Lists in pages: ``?cursor=&limit=``, and ``next`` with every page."""

import base64
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar
from uuid import UUID

from django.db.models import QuerySet
from django.http import JsonResponse
from pydantic import ConfigDict, Field, StringConstraints

from apps.core.schemas import Body

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

_CURSOR = r"^[A-Za-z0-9_-]{21}[AQgw]$"
"""16 bytes in base64url without padding."""

Row = TypeVar("Row")


class Page(Body):
    """Which page of a list."""

    model_config = ConfigDict(strict=False, extra="forbid")

    cursor: Annotated[str, StringConstraints(pattern=_CURSOR)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


def paginate(
    rows: "QuerySet[Any, Row]", page: Page, *, show: Callable[[Row], Any], key: str = "id", newest_first: bool = True,
    alike: Sequence[str] = (),
) -> JsonResponse:  # fmt: skip
    """
    Answer one page of ``rows`` in the order of ``key``, a unique UUID column.

    A cursor names the last row given, so that rows that come or go neither repeat nor hide others. ``alike`` are
    columns in which all rows are the same, to be ordered by before: the order that some index has.
    """
    if page.cursor:
        rows = rows.filter(**{f"{key}__{'lt' if newest_first else 'gt'}": _read(page.cursor)})
    direction = "-" if newest_first else ""
    found = list(rows.order_by(*(f"{direction}{column}" for column in (*alike, key)))[: page.limit + 1])
    shown, more = found[: page.limit], len(found) > page.limit
    cursor = _write(getattr(shown[-1], key)) if more else None
    return JsonResponse({"success": True, "data": [show(row) for row in shown], "next": cursor})


def _write(id_: UUID) -> str:
    return base64.urlsafe_b64encode(id_.bytes).decode().rstrip("=")


def _read(cursor: str) -> UUID:
    return UUID(bytes=base64.urlsafe_b64decode(cursor + "=="))
