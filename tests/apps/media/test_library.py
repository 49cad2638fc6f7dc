"""Lists and searches of a library: filters, orders, pages, totals."""

import base64
import json
from datetime import timedelta
from urllib.parse import quote
from uuid import UUID

import pytest
from django.db import connection

from apps.accounts.models import User
from apps.core import clock, ids
from apps.media import selectors, store
from apps.media.models import Media
from apps.media.schemas import HistoryQuery
from tests.support.api import ApiClient
from tests.support.library import a_file

ORDERINGS = ["created", "-created", "name", "-name", "size", "-size", "lastUsed", "-lastUsed", "-createdAt"]


def names(api: ApiClient, query: str = "") -> list[str]:
    return [file["name"] for file in api.get(f"media/?{query}").data]


def pages(api: ApiClient, query: str, limit: int) -> list[list[str]]:
    found, cursor = [], ""
    while True:
        body = api.get(f"media/?{query}&limit={limit}{cursor}").body
        found.append([file["id"] for file in body["data"]])
        if body["next"] is None:
            return found
        cursor = f"&cursor={body['next']}"


def test_filters_narrow_the_list_and_totals_stay(api: ApiClient, owner: User, stranger: User) -> None:
    a_file(owner, "Intro.mp4", size=10)
    a_file(owner, "Logo 100%.png", category="image", size=20)
    a_file(owner, "notes_final.pdf", category="document", size=30)
    a_file(stranger, "Theirs.mp4")
    Media.objects.filter(name__startswith="notes").update(status="error")

    assert names(api) == ["notes_final.pdf", "Logo 100%.png", "Intro.mp4"]
    assert names(api, "category=image") == ["Logo 100%.png"]
    assert names(api, "minSize=11&maxSize=29") == ["Logo 100%.png"]
    assert names(api, "status=error") == ["notes_final.pdf"]
    assert names(api, "q=LOGO") == names(api, "q=00%25") == names(api, "q=png+logo") == ["Logo 100%.png"]
    assert names(api, "q=s_f") == ["notes_final.pdf"] and names(api, "q=xyz") == []
    assert names(api, "usage=used") == [] and len(names(api, "usage=unused")) == 3
    assert names(api, "q=l") == names(api, "q=pn") == ["Logo 100%.png"], "words that begin so"
    assert names(api, "q=og") == names(api, "q=%25") == [] and names(api, "q=fi+n") == ["notes_final.pdf"]
    assert names(api, "maxSize=19") == ["Intro.mp4"] and names(api, "category=image&maxSize=19&ordering=name") == []
    tomorrow = (clock.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert names(api, f"createdAfter={tomorrow}") == [] and len(names(api, f"createdBefore={tomorrow}")) == 3
    totals = api.get("media/?q=xyz").body["totals"]
    assert totals["video"] == {"count": 1, "bytes": 10} and totals["other"] == {"count": 0, "bytes": 0}


def test_used_and_trashed_files_are_found_by_that(live: ApiClient, owner: User) -> None:
    used, trashed = a_file(owner, "used"), a_file(owner, "trashed")
    a_file(owner, "unused")
    live.post(f"media/{used}/links/", {"targetType": "course", "targetId": live.course()})
    live.delete(f"media/{trashed}/")

    assert names(live, "usage=used") == ["used"] and names(live, "usage=unused") == ["unused"]
    assert names(live, "trashed=true") == ["trashed"]
    assert live.get("media/?trashed=true").body["totals"]["video"]["count"] == 1
    assert names(live, "ordering=-lastUsed")[0] == "used"


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_pages_hold_every_file_once_in_order_while_files_come_and_go(
    api: ApiClient, owner: User, ordering: str
) -> None:
    ids = [a_file(owner, f"{'aBc'[n % 3]}{n % 4}", size=n % 5) for n in range(23)]
    (whole,) = pages(api, f"ordering={ordering}", 200)
    assert sorted(whole) == sorted(ids)
    assert [id_ for page in pages(api, f"ordering={ordering}", 4) for id_ in page] == whole

    body = api.get(f"media/?ordering={ordering}&limit=10").body
    gone, new = body["data"][3]["id"], a_file(owner, "b2", size=2)
    Media.objects.filter(pk=gone).delete()
    rest = api.get(f"media/?ordering={ordering}&limit=200&cursor={body['next']}").data
    assert [file["id"] for file in rest if file["id"] != new] == whole[10:]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "category=film", "usage=maybe", "minSize=-1", "ordering=colour", "q=%00", "x=1"),
        *("createdAfter=soon", "cursor=!", "cursor=aaaa", "cursor=W10", "minSize=99999999999999999999"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(api: ApiClient, query: str) -> None:
    answer = api.get(f"media/?{query}")
    assert (answer.status, answer.error["code"]) == (400, "validation_error")


@pytest.mark.parametrize("name", ["\x00", "\ud800"])
def test_a_cursor_of_a_name_that_cannot_be_is_refused(api: ApiClient, name: str) -> None:
    cursor = _encode(["name", False, name, str(UUID(int=0))])
    assert api.get(f"media/?ordering=name&cursor={cursor}").status == 400


def test_a_cursor_that_is_nested_deeply_is_refused(api: ApiClient) -> None:
    cursor = base64.urlsafe_b64encode(b"[" * 1_400).decode().rstrip("=")
    assert api.get(f"media/?cursor={cursor}").status == 400


def _encode(parts: list[object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def test_a_cursor_of_another_order_is_refused(api: ApiClient, owner: User) -> None:
    for _ in range(2):
        a_file(owner)
    cursor = api.get("media/?ordering=name&limit=1").body["next"]
    assert api.get(f"media/?ordering=size&cursor={cursor}").status == 400
    assert api.get(f"media/?ordering=-name&cursor={cursor}").status == 400


@pytest.mark.parametrize(
    ("ordering", "index"),
    [("created", "media_by_age"), ("name", "media_by_name"), ("size", "media_by_size"), ("lastUsed", "media_by_use")],
)
def test_each_order_has_its_index(owner: User, ordering: str, index: str) -> None:
    from apps.media.paging import Ordering

    order = Ordering.read(ordering)
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
        query = f"EXPLAIN SELECT id FROM media_media WHERE owner_id = %s AND trashed = false ORDER BY {order.sql}"  # noqa: S608
        cursor.execute(query, [owner.pk])
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("RESET enable_seqscan; RESET enable_sort; RESET enable_bitmapscan")
    assert index in plan and "Sort" not in plan


@pytest.mark.parametrize("wanted", ["lower_name", "lower_name, category, used"])
def test_names_are_read_from_their_index_alone(owner: User, wanted: str) -> None:
    a_file(owner)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off")
        cursor.execute(
            f"EXPLAIN SELECT id, {wanted} FROM media_media WHERE owner_id = %s AND trashed = false "  # noqa: S608
            "ORDER BY lower_name, id",
            [owner.pk],
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Index Only Scan using media_by_name" in plan


def look_among(monkeypatch: pytest.MonkeyPatch, first: int, then: int, many: int) -> None:
    """Have pages looked for among the next few files, and then a few more; ``many`` hits are too many for an index."""
    settings = {"_AT_FIRST": first, "_THEN": then, "_THEN_IN_INDEX": then + 1, "_MANY": many}
    for name, value in settings.items():
        monkeypatch.setattr(selectors, name, value)


@pytest.mark.parametrize(("first", "then", "many"), [(1, 1, 1_000), (1, 1, 0), (3, 4, 1_000), (1_500, 10_500, 1_000)])
@pytest.mark.parametrize("ordering", ORDERINGS)
def test_pages_of_a_search_are_the_same_however_they_are_found(
    api: ApiClient, owner: User, monkeypatch: pytest.MonkeyPatch, ordering: str, first: int, then: int, many: int
) -> None:
    for n in range(40):
        a_file(owner, f"{'aBc'[n % 3]} {'film' if n % 4 else 'clip'}", size=n % 5)
    look_among(monkeypatch, first, then, many)

    everything = api.get(f"media/?ordering={ordering}&limit=200").data
    wanted = [file["id"] for file in everything if "film" in file["name"] and file["size"] >= 1]
    found = pages(api, f"ordering={ordering}&q=film&minSize=1", 3)
    assert [id_ for page in found for id_ in page] == wanted and len(wanted) == 24
    assert pages(api, f"ordering={ordering}&q=none", 3) == [[]]


@pytest.mark.parametrize(("first", "then", "many"), [(1, 1, 1_000), (1, 2, 0), (5, 3, 1_000)])
@pytest.mark.parametrize("q", ["film", "film clip", "clip film", "ilm", "-fi", "f", "fi", "100%", "Émile", "film none"])
@pytest.mark.parametrize("ordering", ["name", "-name", "-size"])
def test_words_are_found_at_the_beginning_of_names_and_anywhere_else(
    api: ApiClient,
    owner: User,
    monkeypatch: pytest.MonkeyPatch,
    ordering: str,
    q: str,
    first: int,
    then: int,
    many: int,
) -> None:
    given = [
        "Film",
        "film clip",
        "FILM 100%a",
        "clip of a film",
        "a film",
        "-film",
        "(fi)",
        "zz film film",
        "Émile",
        "é",
    ]
    for n in range(60):
        a_file(owner, f"{given[n % 10]}{f' {n}' if n > 20 else ''}", size=n % 7)
    look_among(monkeypatch, first, then, many)

    everything = api.get(f"media/?ordering={ordering}&limit=200").data
    names_in_order = [file["name"] for file in everything]
    if ordering == "name":
        assert names_in_order == sorted(names_in_order, key=str.lower)
    wanted = [file["id"] for file in everything if all(_has(file["name"].lower(), word) for word in q.lower().split())]
    found = pages(api, f"ordering={ordering}&q={quote(q)}", 4)
    assert [id_ for page in found for id_ in page] == wanted
    assert wanted or q == "film none"


def _has(name: str, word: str) -> bool:
    begins = name.startswith(word) or any(f"{sign}{word}" in name for sign in " -_.(")
    return word in name if len(word) > 2 else begins


@pytest.mark.parametrize("asked", ["", "action=media.update", "actorId={actor}", "action=media.update&actorId={actor}"])
def test_a_history_is_read_in_pages_newest_first_whatever_is_asked_of_it(
    api: ApiClient, owner: User, asked: str
) -> None:
    actors = [str(owner.pk), str(ids.new_id())]
    lines = [(actors[n % 2], ["media.update", "media.link", "media.update"][n % 3]) for n in range(20)]
    for actor, action in lines:
        about = {"owner_id": str(owner.pk), "media_id": str(ids.new_id()), "media_name": "a"}
        line = store.entry(**about, action=action, actor_id=actor, operation_id="o", details={}, now=clock.now())
        store.record([line])

    found, cursor = [], ""
    while cursor is not None:
        body = api.get(f"media/history/?limit=3&{asked.format(actor=actors[0])}{cursor and f'&cursor={cursor}'}").body
        found += [(line["actorId"], line["action"]) for line in body["data"]]
        cursor = body["next"]
    fitting = [line for line in lines if line[0] == actors[0] or "actorId" not in asked]
    assert found == [line for line in fitting[::-1] if line[1] == "media.update" or "action=" not in asked]


@pytest.mark.parametrize(("column", "index"), [("action", "history_by_action"), ("actor_id", "history_by_actor")])
def test_the_history_of_one_action_or_actor_is_never_looked_for_line_by_line(
    owner: User, column: str, index: str
) -> None:
    asked = HistoryQuery(action="media.purge") if column == "action" else HistoryQuery(actorId=owner.pk)
    assert selectors.history_is_alike_in(asked) == [column]
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off")
        plan = selectors.history(owner, asked).order_by(f"-{column}", "-id")[:51].explain()
        cursor.execute("RESET enable_seqscan; RESET enable_sort; RESET enable_bitmapscan")
    assert index in plan and "Sort" not in plan
