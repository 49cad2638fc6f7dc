"""Bulk requests: one operation, a step for each file, progress, cancelling, retrying."""

from collections.abc import Iterator
from typing import Any

import pytest

from apps.accounts.models import User
from apps.core import ids
from apps.media.actions import MediaLane
from apps.media.models import Media
from apps.operations import runner
from apps.operations.pace import Pace
from apps.outbox import progress
from apps.outbox.emit import Draft
from tests.support.api import ApiClient, events_of
from tests.support.library import a_file, add_version, stored


class Figures:
    """Remembers what it is to send, as `apps.outbox.progress.Sender` would send it."""

    def __init__(self) -> None:
        self.told: list[Draft] = []
        self.finished: list[Draft | None] = []

    def tell(self, key: str, draft: Draft) -> None:
        self.told.append(draft)

    def finish(self, key: str, draft: Draft | None = None) -> None:
        self.finished.append(draft)


STEADY = 200


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of the same size, however slow the machine is."""
    monkeypatch.setattr("apps.operations.lanes.note_pace", lambda *_: None)
    monkeypatch.setattr(MediaLane, "pace", Pace(most=STEADY))


@pytest.fixture
def figures() -> Iterator[Figures]:
    figures = Figures()
    progress.use(figures)  # type: ignore[arg-type]
    yield figures
    progress.use(None)


def _end(owner: User) -> dict[str, Any]:
    last = events_of(f"user:{owner.pk}")[-1]
    assert last["type"] == "batch-operation-complete"
    return last["data"]


def test_each_file_stands_alone_and_the_end_tells_who_failed(live: ApiClient, owner: User, stranger: User) -> None:
    free, used, theirs = a_file(owner), a_file(owner), a_file(stranger)
    live.post(f"media/{used}/links/", {"targetType": "course", "targetId": live.course()})
    ids_ = [free, used, theirs, str(ids.new_id())]
    answer = live.post("media/bulk/delete/", {"mediaIds": ids_})

    assert answer.data == {"total": 4}
    operation = live.operation(answer)
    codes = [(step["error"] or {}).get("code") for step in operation["steps"]]
    assert (operation["kind"], operation["status"]) == ("media.bulk-delete", "partial")
    assert codes == [None, "in_use", "not_found", "not_found"]
    assert (_end(owner)["succeeded"], _end(owner)["failed"]) == (1, 3)
    assert not Media.objects.get(pk=theirs).trashed
    (told,) = [
        event["data"]["error"]
        for event in events_of(f"user:{owner.pk}")
        if event["data"].get("mediaId") == used and event["type"] == "operation-failed"
    ]
    in_batch = _end(owner)["results"][1]["error"]
    assert len(told["blockers"]) == 1
    assert in_batch == {name: value for name, value in told.items() if name != "blockers"}


def test_somebody_elses_links_are_as_unknown_as_those_that_are_not_there(
    live: ApiClient, owner: User, stranger: User
) -> None:
    course = live.course()
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "editor"})
    theirs, own = a_file(stranger), a_file(owner)
    links = [
        user.post(f"media/{file}/links/", {"targetType": "course", "targetId": course}).data["linkId"]
        for user, file in ((ApiClient(stranger), theirs), (live, own))
    ]
    operation = live.operation(live.post("media/bulk/unlink/", {"linkIds": [*links, str(ids.new_id())]}))

    errors = [step["error"] for step in operation["steps"]]
    assert errors[1] is None and errors[0] == errors[2] and errors[0]["code"] == "not_found"
    assert Media.objects.get(pk=theirs).link_count == 1


@pytest.mark.parametrize("batch", [1, STEADY])
def test_links_that_are_still_being_made_are_removed_behind_their_creation(
    api: ApiClient, owner: User, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(MediaLane, "pace", Pace(most=batch))
    lane, course = f"user:{owner.pk}", api.course()
    runner.run_lane(f"course:{course}")
    files = [a_file(owner), a_file(owner)]
    body = {"targetType": "course", "targetId": course}
    links = [api.post(f"media/{media}/links/", body).data["linkId"] for media in (files[0], *files)]
    removed = api.post("media/bulk/unlink/", {"linkIds": links})
    runner.run_lane(lane)

    errors = [step["error"] for step in api.operation(removed)["steps"]]
    assert (errors[0], errors[2]) == (None, None) and errors[1]["code"] == "dependency_failed"
    assert api.get(f"media-links/?targetType=course&targetId={course}").data == []
    told = [event["data"]["mediaId"] for event in events_of(lane) if event["type"] == "media-unlink-complete"]
    assert told == files


def test_a_dry_run_says_what_would_happen_and_does_nothing(live: ApiClient, owner: User) -> None:
    free, used, trashed = a_file(owner, size=5), a_file(owner, size=6), a_file(owner)
    live.post(f"media/{used}/links/", {"targetType": "course", "targetId": live.course()})
    live.delete(f"media/{trashed}/")
    add_version(free, stored(size=30))
    body = {"mediaIds": [free, used, trashed, str(ids.new_id())], "dryRun": True}

    answer = live.post("media/bulk/delete/", body)
    expected = {"total": 4, "deletable": 1, "inUse": 1, "alreadyDeleted": 1, "notFound": 1, "removedLinks": 0}
    assert answer.status == 200
    assert answer.data == {**expected, "bytes": 35, "inUseIds": [used]}
    assert live.get(f"media/{free}/deletion-impact/").data["bytes"] == 35
    forced = live.post("media/bulk/delete/", {**body, "force": True}).data
    assert (forced["deletable"], forced["inUse"], forced["removedLinks"], forced["bytes"]) == (2, 0, 1, 41)
    assert not Media.objects.get(pk=free).trashed


def test_everything_there_and_back_in_bulk(live: ApiClient, owner: User) -> None:
    course = live.course()
    files = [a_file(owner) for _ in range(5)]
    body = {"mediaIds": files}
    live.post("media/bulk/link/", {**body, "targetType": "course", "targetId": course})
    links = live.get(f"media-links/?targetType=course&targetId={course}").data
    assert [link["position"] for link in links] == [0, 1, 2, 3, 4]

    live.post("media/bulk/delete/", {**body, "force": True})
    assert Media.objects.filter(owner=owner, trashed=True).count() == 5
    live.post("media/bulk/restore/", {**body, "restoreLinks": "all"})
    assert live.get(f"media-links/?targetType=course&targetId={course}").data == links
    live.post("media/bulk/unlink/", {"linkIds": [link["id"] for link in links] + [str(ids.new_id())]})
    assert (_end(owner)["succeeded"], _end(owner)["failed"]) == (5, 1)
    live.post("media/bulk/delete/", body)
    live.post("media/bulk/purge/", body)
    assert _end(owner)["status"] == "succeeded"
    assert not Media.objects.exists()


def test_progress_is_told_at_the_beginning_between_batches_and_at_the_end(
    api: ApiClient, owner: User, figures: Figures
) -> None:
    total = 2 * STEADY + 10
    files = [a_file(owner) for _ in range(total - 1)]
    answer = api.post("media/bulk/delete/", {"mediaIds": [str(ids.new_id()), *files]})
    runner.run_lane(f"user:{owner.pk}")

    key = answer.body["operationId"]
    once = STEADY
    told = [*figures.told, *filter(None, figures.finished)]
    assert [draft.type for draft in told] == ["media-bulk-delete-progress"] * 4
    assert [draft.data for draft in told] == [
        {"operationId": key, "done": done, "total": total, "failed": min(1, done)}
        for done in (0, once, 2 * once, total)
    ]
    assert len(figures.finished) == 1
    assert (_end(owner)["succeeded"], _end(owner)["failed"], _end(owner)["truncated"]) == (total - 1, 1, True)


@pytest.mark.parametrize("count", [1, 3])
def test_also_a_small_one_says_where_it_begins_and_ends(
    live: ApiClient, owner: User, figures: Figures, count: int
) -> None:
    live.post("media/bulk/delete/", {"mediaIds": [a_file(owner) for _ in range(count)]})
    assert [draft.data["done"] for draft in [*figures.told, *filter(None, figures.finished)]] == [0, count]


def test_what_has_not_begun_can_be_cancelled(api: ApiClient, owner: User, figures: Figures) -> None:
    files = [a_file(owner) for _ in range(STEADY + 5)]
    answer = api.post("media/bulk/delete/", {"mediaIds": files})
    assert runner.run_lane(f"user:{owner.pk}", for_seconds=0) is True
    api.post(f"operations/{answer.body['operationId']}/cancel/")
    runner.run_lane(f"user:{owner.pk}")

    operation = api.operation(answer)
    assert (operation["status"], operation["succeeded"], operation["failed"]) == ("cancelled", len(files) - 5, 5)
    assert Media.objects.filter(trashed=False).count() == 5


def test_what_failed_is_retried_as_a_bulk_operation_again(live: ApiClient, owner: User) -> None:
    used = a_file(owner)
    link = live.post(f"media/{used}/links/", {"targetType": "course", "targetId": live.course()}).data["linkId"]
    answer = live.post("media/bulk/delete/", {"mediaIds": [used, a_file(owner)]})
    live.delete(f"media-links/{link}/")
    live.post(f"operations/{answer.body['operationId']}/retry/")
    assert (_end(owner)["status"], _end(owner)["succeeded"]) == ("succeeded", 1)


def test_two_bulk_operations_over_the_same_files(api: ApiClient, owner: User) -> None:
    files = [a_file(owner) for _ in range(4)]
    answers = [api.post("media/bulk/delete/", {"mediaIds": ids_}) for ids_ in (files, files[::-1])]
    purges = [api.post("media/bulk/purge/", {"mediaIds": files}) for _ in range(2)]
    runner.run_lane(f"user:{owner.pk}")

    assert [api.operation(answer)["status"] for answer in (*answers, *purges)] == ["succeeded"] * 4
    assert all(step["data"]["alreadyGone"] for step in api.operation(answers[1])["steps"])


@pytest.mark.parametrize("path", ["delete", "restore", "purge"])
def test_too_many_none_or_doubled_ids_are_refused(api: ApiClient, path: str) -> None:
    one = str(ids.new_id())
    for wanted in ([], [one, one], [str(ids.new_id()) for _ in range(10_001)], ["x"], None):
        answer = api.post(f"media/bulk/{path}/", {"mediaIds": wanted})
        assert (answer.status, answer.error["code"]) == (400, "validation_error")
