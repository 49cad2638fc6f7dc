"""Whatever breaks while a film is on its way: it arrives whole and once, or fails once, and nothing is left behind."""

import threading

import pytest

from demo.client import Listener
from tests.e2e.uploads.faults.conftest import PLACES
from tests.support.broken_patch import OpenPatch
from tests.support.faulty_storage import FaultyStorage, Held
from tests.support.films import MIB, PART, Sent, film
from tests.support.stack import Cast, Course, Listen, Site, eventually


def is_coming(tab: Listener, sent: Sent) -> None:
    """Wait until progress says that more has come than fits into a part."""
    tab.wait_for(
        lambda frame: (
            frame["type"] == "upload-progress"
            and frame["data"]["uploadId"] == sent.upload.upload_id
            and frame["data"]["bytes"] > PART
        )
    )


def test_a_body_that_ends_early_is_kept_to_the_last_byte(sent: Sent) -> None:
    patch = OpenPatch(sent.upload, 0, len(sent.data))
    patch.send(sent.data[: 13 * MIB])
    patch.end_early()
    answer = patch.answer()
    assert (answer.status, answer.headers["Upload-Offset"]) == (204, str(13 * MIB))

    assert sent.upload.offset() == 13 * MIB
    assert sent.upload.patch(13 * MIB, sent.data[13 * MIB :]).status == 204
    sent.arrives_once()


def test_a_connection_that_breaks_in_mid_patch_is_no_end(
    sent: Sent, course: Course, cast: Cast, listen: Listen
) -> None:
    tab = listen(cast.owner, course)
    patch = OpenPatch(sent.upload, 0, len(sent.data))
    patch.send(sent.data[: 13 * MIB])
    is_coming(tab, sent)
    patch.cut()

    offset = sent.upload.offset()
    assert PART <= offset <= 13 * MIB
    assert sent.upload.patch(offset, sent.data[offset:]).status == 204
    sent.arrives_once()


def test_an_api_that_dies_in_mid_patch_keeps_the_parts_that_storage_has(site: Site, sent: Sent) -> None:
    patch = OpenPatch(sent.upload, 0, len(sent.data))
    patch.send(sent.data[:PART])
    rest = iter(range(PART, len(sent.data), 64 * 1024))

    def first_part_is_safe() -> bool:
        at = next(rest)
        patch.send(sent.data[at : at + 64 * 1024])
        return bool(sent.upload.read()["bytes"] == PART)

    eventually(first_part_is_safe)
    site.stack.kill("api")
    patch.cut()
    site.stack.restart("api")

    sent = sent.again()
    assert sent.upload.offset() == PART
    sent.go_on()
    sent.arrives_once()


@pytest.mark.parametrize(("verb", "doing"), [("complete", "completing"), ("get", "looking at it")])
def test_a_worker_that_dies_leaves_the_film_to_another(
    site: Site, sent: Sent, faulty: FaultyStorage, verb: str, doing: str
) -> None:
    with faulty.having(Held(), verb) as held:
        sent.go_on()
        held.wait_until_met()
        site.stack.kill("worker")
    site.stack.restart("worker")
    sent.arrives_once()


def test_the_worker_and_the_relay_die_while_completing_and_it_ends_once(
    site: Site, sent: Sent, faulty: FaultyStorage
) -> None:
    with faulty.having(Held(), "complete") as held:
        sent.go_on()
        held.wait_until_met()
        for name in ("worker", "relay"):
            site.stack.kill(name)
    for name in ("relay", "worker"):
        site.stack.restart(name)
    sent.arrives_once()


@pytest.mark.parametrize("name", ["broadcast", "valkey"])
def test_the_bytes_do_not_notice_that_nobody_can_be_told(site: Site, sent: Sent, name: str) -> None:
    patch = OpenPatch(sent.upload, 0, len(sent.data))
    patch.send(sent.data[: 5 * MIB])
    site.stack.kill(name)
    patch.send(sent.data[5 * MIB :])
    assert patch.answer().status == 204
    assert sent.ends()["status"] == "succeeded"

    site.stack.restart(name)
    sent.arrives_once()


def test_of_two_clients_the_later_one_has_the_earlier_let_go(
    sent: Sent, course: Course, cast: Cast, listen: Listen
) -> None:
    tab = listen(cast.owner, course)
    first = OpenPatch(sent.upload, 0, len(sent.data))
    first.send(sent.data[: 13 * MIB])
    is_coming(tab, sent)

    # It waits until the first one has stopped, and learns that it is too late for where it wanted to begin.
    refused = sent.upload.patch(0, sent.data)
    at = refused.body["error"]["offset"]
    assert refused.status == 409 and PART <= at <= 13 * MIB
    assert int(first.answer().headers["Upload-Offset"]) == at
    assert sent.upload.patch(at, sent.data[at:]).status == 204
    sent.arrives_once()


def test_clients_that_all_send_one_film_get_somewhere_and_misplace_no_byte(sent: Sent) -> None:
    rivals = [sent.again() for _ in range(PLACES)]
    failures: list[BaseException] = []

    def send(rival: Sent) -> None:
        try:
            rival.go_on()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=send, args=(rival,)) for rival in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    sent.arrives_once()


def test_uploads_never_take_the_last_threads(site: Site, cast: Cast, course: Course) -> None:
    # One user has two of the three.
    senders = [cast.owner, cast.editor, cast.owner, cast.editor]
    films = [Sent.by(sender, course, film(1)) for sender in senders]
    holding = [OpenPatch(one.upload, 0, len(one.data)) for one in films[:PLACES]]
    for patch, one in zip(holding, films, strict=False):
        patch.send(one.data[:MIB])
    eventually(lambda: site.ask_database(_HELD) == [(PLACES,)])
    eventually(lambda: _refused(films[-1]))

    assert cast.owner.get(course.path).status == 200
    cast.owner.done(cast.owner.patch(course.path, {"title": "Saved meanwhile"}))
    for patch, one in zip(holding, films, strict=False):
        patch.send(one.data[MIB:])
        assert patch.answer().status == 204
    films[-1].go_on()
    for one in films:
        one.arrives_once()


_HELD = "SELECT count(*) FROM uploads_upload WHERE lease_token IS NOT NULL AND lease_expires_at > now()"


def _refused(sent: Sent) -> bool:
    """Whether there is no place for one more; if there still is, it is given back."""
    answer = sent.upload.patch(sent.upload.offset(), sent.data[:1024])
    assert answer.status in (204, 503), answer
    if answer.status == 503:
        assert int(answer.headers["Retry-After"]) > 0
    return answer.status == 503


def test_an_abandoned_upload_ends_with_its_step_its_operation_and_its_bytes(
    site: Site, sent: Sent, course: Course, cast: Cast, listen: Listen
) -> None:
    tab = listen(cast.viewer, course)
    assert sent.upload.patch(0, sent.data[: 13 * MIB]).status == 204
    # The chore looks once a minute, and as soon as its relay starts.
    site.stack.kill("relay")
    aged = "UPDATE uploads_upload SET expires_at = now() - interval '1 second' WHERE id = %s RETURNING 1"
    assert site.ask_database(aged, sent.upload.upload_id)
    site.stack.restart("relay")

    event = tab.wait_for_event("operation-failed", sent.upload.operation_id)
    assert event["data"]["error"]["code"] == "expired"
    assert (event["data"]["videoId"], event["data"]["uploadId"]) == (sent.upload.target_id, sent.upload.upload_id)
    assert sent.ends()["status"] == "failed"
    assert sent.upload.head().status == 410
    assert cast.owner.get(f"videos/{sent.upload.target_id}/").data["status"] == "error"
