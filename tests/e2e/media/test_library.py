"""The library's story over real processes: uploads, links, deletions that are refused, forced and undone, and bulk."""

import time
from collections.abc import Callable

import pytest

from demo import tus
from demo.client import Api, Json, Listener
from tests.support import media as media_files
from tests.support.stack import Cast, Course, Listen, Site

MANY = 1_000


def _upload(owner: Api) -> str:
    """Put a file into someone's library by tus."""
    body = media_files.pdf()
    upload = tus.create(owner, len(body), {"kind": "media", "name": "notes.pdf"}, filename="notes.pdf")
    assert upload.patch(0, body).status == 204
    assert owner.wait(upload.operation_id, 60)["status"] == "succeeded"
    return upload.target_id


def _link(owner: Api, media: str, course: Course) -> str:
    answer = owner.post(f"media/{media}/links/", {"targetType": "course", "targetId": course.id})
    owner.done(answer)
    return str(answer.data["linkId"])


def test_a_file_is_uploaded_linked_kept_forced_and_restored(
    site: Site, cast: Cast, owner: Api, viewer: Api, course: Course, listen: Listen
) -> None:
    other, tab = site.new_course(cast), listen(owner, course)
    media = _upload(owner)
    links = {_link(owner, media, course), _link(owner, media, other)}
    assert owner.get(f"media/{media}/").data["linkCount"] == 2

    refused = owner.delete(f"media/{media}/")
    assert (refused.status, refused.body["error"]["code"]) == (409, "in_use")
    assert {blocker["id"] for blocker in refused.body["error"]["blockers"]} == {course.id, other.id}
    assert viewer.get(f"media-links/?targetType=course&targetId={course.id}").data[0]["media"]["id"] == media
    assert viewer.get(f"media/{media}/playback/").status == 200
    assert viewer.delete(f"media/{media}/?force=true").status == 403

    forced = owner.delete(f"media/{media}/?force=true")
    owner.done(forced)
    tab.wait_for_event("media-delete-complete", forced.operation_id)
    assert viewer.get(f"media/{media}/playback/").status == 404
    restored = owner.done(owner.post(f"media/{media}/restore/", {"restoreLinks": "all"}))
    report = restored["steps"][0]["data"]["links"]
    assert {(each["linkId"], each["result"]) for each in report} == {(link, "restored") for link in links}
    assert owner.get(f"media/{media}/").data["linkCount"] == 2


@pytest.fixture
def files(site: Site, owner: Api) -> Callable[[], list[str]]:
    """Makes many files as uploads leave them; by SQL, since a thousand uploads are not what is shown here."""

    def make() -> list[str]:
        return [str(id_) for (id_,) in site.ask_database(_FILES, owner.user["id"], MANY)]

    return make


_FILES = """
    INSERT INTO media_media (id, owner_id, name, category, status, content_type, size, link_count, version, created_at,
        updated_at)
    SELECT gen_random_uuid(), %s, 'bulk ' || number, 'other', 'complete', '', 1, 0, 1, now(), now()
    FROM generate_series(1, %s) AS number RETURNING id
"""


def _figures(tab: Listener, operation_id: str) -> list[tuple[float, Json]]:
    return [
        (one.at, one.frame)
        for one in list(tab.log.received)
        if one.frame.get("operationId") == operation_id and one.frame["type"] == "media-bulk-delete-progress"
    ]


def test_a_bulk_deletion_tells_its_progress_and_ends_once(
    owner: Api, listen: Listen, files: Callable[[], list[str]]
) -> None:
    wanted, tab = files(), listen(owner)
    answer = owner.post("media/bulk/delete/", {"mediaIds": wanted})
    end = tab.wait_for_event("batch-operation-complete", answer.operation_id, 120)
    assert (end["data"]["succeeded"], end["data"]["failed"]) == (MANY, 0)

    time.sleep(1.0)
    told = _figures(tab, answer.operation_id)
    done = [frame["data"]["done"] for _, frame in told]
    assert (done[0], done[-1]) == (0, MANY)
    assert done == sorted(done) and all(frame["data"]["total"] == MANY for _, frame in told)
    assert all(later[0] - earlier[0] > 0.8 for earlier, later in zip(told, told[10:], strict=False)), "ten a second"
    frames = [one.frame for one in tab.log.received if one.frame.get("operationId") == answer.operation_id]
    assert frames[-1]["type"] == "batch-operation-complete"
    assert sum(frame["type"] == "batch-operation-complete" for frame in frames) == 1


def test_a_cancelled_one_stops_and_two_over_the_same_files_agree(
    owner: Api, listen: Listen, files: Callable[[], list[str]]
) -> None:
    wanted, tab = files(), listen(owner)
    first = owner.post("media/bulk/delete/", {"mediaIds": wanted})
    second = owner.post("media/bulk/delete/", {"mediaIds": list(reversed(wanted))})
    owner.post(f"operations/{first.operation_id}/cancel/")
    ends = [tab.wait_for_event("batch-operation-complete", one.operation_id, 120)["data"] for one in (first, second)]

    assert ends[0]["succeeded"] + ends[0]["failed"] == MANY and ends[1]["succeeded"] == MANY
    assert owner.wait(first.operation_id)["status"] in ("cancelled", "succeeded")
    trashed = {row["id"] for row in owner.get("media/?trashed=true&limit=200").data}
    assert trashed and not {row["id"] for row in owner.get("media/?q=bulk&limit=200").data} & set(wanted)


def test_a_worker_that_is_killed_in_the_middle_changes_nothing_about_the_end(
    fragile: Site, fragile_people: Cast, listen: Listen
) -> None:
    cast = fragile_people.again()
    owner, tab = cast.owner, listen(cast.owner)
    wanted = [str(id_) for (id_,) in fragile.ask_database(_FILES, owner.user["id"], MANY)]
    answer = owner.post("media/bulk/delete/", {"mediaIds": wanted})
    tab.wait_for(lambda frame: frame["type"] == "media-delete-complete", 60)
    fragile.stack.kill("worker")
    fragile.stack.restart("worker")

    end = tab.wait_for_event("batch-operation-complete", answer.operation_id, 180)
    assert (end["data"]["succeeded"], end["data"]["failed"]) == (MANY, 0)
    gone = [e["data"]["mediaId"] for e in tab.events() if e["type"] == "media-delete-complete"]
    assert sorted(gone) == sorted(wanted), "each once"
    cast.close()
