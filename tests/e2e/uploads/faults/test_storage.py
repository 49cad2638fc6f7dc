"""Storage that is down, slow, overloaded, or says one thing and does another: films arrive all the same, once."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import faulty_storage
from tests.support.broken_patch import OpenPatch
from tests.support.faulty_storage import Fault, FaultyStorage, Held, Once
from tests.support.films import MIB, Sent, film
from tests.support.stack import Cast, Course, Site, eventually

FAULTS: dict[str, Callable[[], Fault]] = {
    "503 SlowDown": lambda: faulty_storage.error(503, "SlowDown"),
    "500": lambda: faulty_storage.error(500, "InternalError"),
    "200 with an error inside": lambda: faulty_storage.error(200, "InternalError"),
    "an answer that is lost": faulty_storage.lost_answer,
    "a request that is lost": faulty_storage.broken_connection,
}


@pytest.mark.parametrize(
    ("verb", "fault"),
    [
        ("create", "503 SlowDown"),
        ("part", "503 SlowDown"),
        ("part", "500"),
        ("part", "an answer that is lost"),
        ("put", "a request that is lost"),
        ("complete", "503 SlowDown"),
        ("complete", "200 with an error inside"),
        ("complete", "an answer that is lost"),
        ("get", "a request that is lost"),
        ("head", "500"),
        ("delete", "an answer that is lost"),
    ],
)
def test_what_goes_wrong_once_nobody_notices(sent: Sent, faulty: FaultyStorage, verb: str, fault: str) -> None:
    with faulty.having(Once(FAULTS[fault]()), verb) as met:
        assert sent.upload.patch(0, sent.data[: 13 * MIB]).status == 204
        assert sent.upload.patch(13 * MIB, sent.data[13 * MIB :]).status == 204
        sent.arrives_once()
        met.wait_until_met()


@pytest.mark.parametrize("fault", ["503 SlowDown", "a request that is lost"])
def test_while_storage_takes_no_parts_clients_are_told_to_come_again(
    sent: Sent, cast: Cast, course: Course, faulty: FaultyStorage, fault: str
) -> None:
    with faulty.having(FAULTS[fault](), "part"):
        refused = sent.upload.patch(0, sent.data)
        assert (refused.status, refused.body["error"]["code"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert sent.upload.offset() == 0
        cast.owner.done(cast.owner.patch(course.path, {"title": "Saved meanwhile"}))
    sent.go_on()
    sent.arrives_once()


@pytest.mark.parametrize("fault", ["503 SlowDown", "200 with an error inside"])
def test_while_storage_completes_nothing_it_is_asked_again_later(
    site: Site, sent: Sent, faulty: FaultyStorage, fault: str
) -> None:
    with faulty.having(FAULTS[fault](), "complete"):
        sent.go_on()
        tried = "SELECT 1 FROM uploads_upload WHERE id = %s AND retries > 0"
        eventually(lambda: site.ask_database(tried, sent.upload.upload_id), 30)
        assert sent.upload.read()["status"] == "processing"
    sent.arrives_once()


def test_storage_that_stops_in_the_middle_costs_a_pause(sent: Sent, faulty: FaultyStorage) -> None:
    assert sent.upload.patch(0, sent.data[: 13 * MIB]).status == 204
    faulty.stop()
    assert sent.upload.patch(13 * MIB, sent.data[13 * MIB :]).status == 503
    assert sent.upload.offset() == 13 * MIB

    faulty.start()
    sent.go_on()
    sent.arrives_once()


def test_what_storage_should_be_rid_of_waits_until_it_is_back(
    sent: Sent, cast: Cast, course: Course, faulty: FaultyStorage
) -> None:
    whole = Sent.by(cast.owner, course, film())
    whole.go_on()
    whole.arrives_once()
    assert sent.upload.patch(0, sent.data[: 13 * MIB]).status == 204
    faulty.stop()
    cast.owner.done(cast.owner.delete(f"videos/{whole.upload.target_id}/"))
    assert cast.owner.delete(f"uploads/{sent.upload.upload_id}/").status < 300
    assert sent.ends()["steps"][0]["error"]["code"] == "aborted"
    faulty.start()


def test_slow_storage_holds_up_its_upload_and_nobody_else(
    sent: Sent, cast: Cast, course: Course, faulty: FaultyStorage
) -> None:
    answers: list[int] = []
    patch = OpenPatch(sent.upload, 0, len(sent.data))
    sending = threading.Thread(target=lambda: (patch.send(sent.data), answers.append(patch.answer().status)))
    with faulty.having(Held(), "part") as held:
        sending.start()
        held.wait_until_met()
        cast.owner.done(cast.owner.patch(course.path, {"title": "Saved meanwhile"}))
        assert not answers
    sending.join(60)
    assert answers == [204]
    sent.arrives_once()


def test_storage_that_hangs_does_not_take_the_threads_of_saves(
    cast: Cast, course: Course, faulty: FaultyStorage
) -> None:
    path = "uploads/s3/multipart"
    created = cast.owner.post(path, {"filename": "film.mp4", "target": {"kind": "media"}}).body
    sign, over = f"{path}/{created['uploadId']}/1", threading.Event()
    hung = Fault(lambda request: over.wait(60) and request.reset())
    with faulty.having(hung, "create"), ThreadPoolExecutor(30) as pool:
        signing = [pool.submit(cast.owner.again().get, sign) for _ in range(30)]
        hung.wait_until_met()
        began = time.monotonic()
        cast.owner.done(cast.owner.patch(course.path, {"title": "Saved meanwhile"}))
        assert time.monotonic() - began < 5
        answers = [one.result() for one in signing]
        over.set()
    assert {answer.status for answer in answers} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)

    assert cast.owner.get(sign).status == 200
    assert cast.owner.delete(f"uploads/{created['uploadId']}/").status == 202
