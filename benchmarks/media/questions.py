"""What is asked of a large library: every list, filter, order and search, first pages and deep ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from benchmarks.media.building import COMMON, RARE

PAGE_MS, USAGE_MS = 50.0, 20.0
ORDERS = ("-created", "created", "name", "-name", "size", "-size", "lastUsed", "-lastUsed")


@dataclass(frozen=True, slots=True)
class Question:
    """
    Requests of one kind: a group, what it is, its path, and how long it may take.

    ``deep``: it has pages to be turned; ``order``: the order of the library that it is asked in.
    """

    group: str
    name: str
    path: str
    limit_ms: float = PAGE_MS
    deep: bool = True
    order: str = ""


def of_library() -> Iterator[Question]:
    """Yield what may be asked of the list."""
    for order in ORDERS:
        yield _page("orders", order, ordering=order)
    yield from _filters()
    yield from _searches()


def _filters() -> Iterator[Question]:
    """Combine filters: every category with every usage and every order, the rest with each order that may be hard."""
    categories, usages = ("", "video", "other"), ("", "used", "unused")
    for order, category, usage in product(ORDERS, categories, usages):
        if category or usage:
            given = {"category": category, "usage": usage}
            name = ", ".join(filter(None, (category, usage, order)))
            yield _page("category and usage", name, ordering=order, **{k: v for k, v in given.items() if v})
    for name, filters in _RARE_FILTERS.items():
        for order in ("-created", "name", "-size", "lastUsed"):
            yield _page("other filters", f"{name}, {order}", ordering=order, **filters)


_RARE_FILTERS = {
    "status": {"status": "error"},
    "no such status": {"status": "uploading"},
    "trash": {"trashed": "true"},
    "trashed videos": {"trashed": "true", "category": "video"},
    "large": {"minSize": "999000000"},
    "small": {"maxSize": "1010"},
    "small videos": {"category": "video", "maxSize": "900000"},
    "large documents": {"category": "document", "minSize": "21000000"},
    "a week": {"createdAfter": "{week_from}", "createdBefore": "{week_to}"},
    "unused videos of a week": {
        "createdAfter": "{week_from}", "createdBefore": "{week_to}", "usage": "unused", "category": "video",
    },
    "large of a week": {"createdAfter": "{week_from}", "createdBefore": "{week_to}", "minSize": "900000000"},
    "used in the trash": {"trashed": "true", "usage": "used"},
    "everything at once": {
        "createdAfter": "{week_from}", "usage": "used", "category": "video", "status": "complete",
        "minSize": "5000000", "maxSize": "500000000", "q": COMMON,
    },
}  # fmt: skip


def _searches() -> Iterator[Question]:
    words = {
        "a common word": COMMON, "a rare word": RARE, "no such word": "zyzzyva", "two words": "{word} {other}",
        "a usual word": "{word}", "a common and a rare word": f"{COMMON} {RARE}", "part of a word": "uixot",
        "a file's number": "{number}", "two letters": "ba", "two rare letters": "qu", "no such letters": "zy",
        "one letter": "b", "one rare letter": "q", "an ending": ".zip", "signs": "%_", "nothing but signs": "--",
    }  # fmt: skip
    for name, q in words.items():
        for order in ORDERS:
            yield _page("search", f"{name}, {order}", q=q, ordering=order)
    for name, q in (("a common word", COMMON), ("a rare word", RARE), ("a usual word", "{word}")):
        for order in ("-created", "name"):
            for filters in ({"category": "other"}, {"usage": "unused"}, {"trashed": "true"}, {"status": "error"}):
                said = ", ".join(f"{k}={v}" for k, v in filters.items())
                yield _page("search in filters", f"{name}, {said}, {order}", q=q, ordering=order, **filters)


def of_usage() -> Iterator[Question]:
    """Yield what may be asked about one file, or one target."""
    for which in ("used", "unused", "much_used", "trashed"):
        yield Question("usage", f"detail, {which}", f"media/{{{which}}}/", USAGE_MS, deep=False)
        yield Question("usage", f"links, {which}", f"media/{{{which}}}/links/", USAGE_MS)
    for which in ("used", "unused", "much_used"):
        yield Question("impact", which, f"media/{{{which}}}/deletion-impact/", USAGE_MS, deep=False)
    yield Question("impact", "refused deletion, much_used", "media/{much_used}/", USAGE_MS, deep=False)
    for type_ in ("course", "chapter", "video"):
        yield Question("usage", f"of a {type_}", f"media-links/?targetType={type_}&targetId={{{type_}}}", USAGE_MS)
        within = f"media-links/?targetType={type_}&targetId={{{type_}}}&within=true"
        yield Question("usage", f"within a {type_}", within, USAGE_MS)
    yield Question("history", "of the library", "media/history/")
    yield Question("history", "of an action", "media/history/?action=media.upload")
    yield Question("history", "of an action that never was", "media/history/?action=media.purge")
    yield Question("history", "of a file", "media/{used}/history/", deep=False)
    yield Question("history", "of a week", "media/history/?after={week_from}&before={week_to}")
    yield Question("history", "of an operation", "media/history/?operation=upload-{used}", deep=False)
    yield Question("history", "of nobody", "media/history/?actorId={used}", deep=False)


def _page(group: str, name: str, **query: str) -> Question:
    path = "media/?" + "&".join(f"{key}={value}" for key, value in query.items())
    return Question(group, name, path, order=query["ordering"])
