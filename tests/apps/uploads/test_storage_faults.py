"""What the adapter makes of a storage that is overloaded, broken, slow, or gone in the middle of a sentence."""

import io
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from apps.uploads import storage
from apps.uploads.storage import ObjectMissing, StorageAway, client, process
from tests.support.faulty_storage import Fault, FaultyStorage, Held, Once, broken_connection, error, lost_answer
from tests.support.uploading import content

pytestmark = pytest.mark.pure
PART = 5 * 1024 * 1024


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultyStorage]:
    with FaultyStorage() as faulty:
        yield faulty


@pytest.fixture
def store(faulty: FaultyStorage, settings: Settings) -> storage.ObjectStore:
    for name, value in faulty.env.items():
        setattr(settings, name, value)
    return process.make()


OVERLOADED = [(503, "SlowDown"), (503, "ServiceUnavailable"), (500, "InternalError")]


@pytest.mark.parametrize(("status", "code"), OVERLOADED)
def test_what_passes_is_not_noticed(faulty: FaultyStorage, store: storage.ObjectStore, status: int, code: str) -> None:
    upload = store.create_multipart("a/film", "video/mp4")
    with faulty.having(Once(error(status, code)), "part", "complete") as fault:
        etag = store.upload_part("a/film", upload, 1, io.BytesIO(b"film"))
        store.complete_multipart("a/film", upload, [(1, etag)])
    # On a busy machine the store behind it may refuse some by itself.
    assert fault.met >= 3, "refused once, sent again, completed"
    assert store.get_range("a/film", 0, 9) == b"film"


@pytest.mark.parametrize(("status", "code"), OVERLOADED)
def test_what_lasts_is_tried_a_few_times_and_then_left_for_later(
    faulty: FaultyStorage, store: storage.ObjectStore, status: int, code: str
) -> None:
    with faulty.having(error(status, code), "put") as fault, pytest.raises(StorageAway) as raised:
        store.put("b/x", b"x")
    assert fault.met == client.ATTEMPTS
    assert raised.value.status == 503 and raised.value.retry_after_seconds == 5
    with pytest.raises(ObjectMissing):
        store.head("b/x")


def test_an_error_inside_of_a_success_is_an_error(faulty: FaultyStorage, store: storage.ObjectStore) -> None:
    upload = store.create_multipart("c/film", "video/mp4")
    etag = store.upload_part("c/film", upload, 1, b"film")
    with faulty.having(error(200, "InternalError"), "complete") as fault, pytest.raises(StorageAway):
        store.complete_multipart("c/film", upload, [(1, etag)])
    assert fault.met == client.ATTEMPTS
    with pytest.raises(ObjectMissing):
        store.head("c/film")
    with faulty.having(Once(error(200, "InternalError")), "complete"):
        store.complete_multipart("c/film", upload, [(1, etag)])
    assert store.head("c/film").size == 4


def test_a_completion_whose_answer_is_lost_has_worked(faulty: FaultyStorage, store: storage.ObjectStore) -> None:
    upload = store.create_multipart("d/film", "video/mp4")
    etag = store.upload_part("d/film", upload, 1, b"film")
    with faulty.having(Once(lost_answer()), "complete"):
        store.complete_multipart("d/film", upload, [(1, etag)])
    assert store.get_range("d/film", 0, 9) == b"film"


def test_a_connection_that_breaks_is_made_again_and_the_part_sent_from_its_beginning(
    faulty: FaultyStorage, store: storage.ObjectStore
) -> None:
    body = content(PART)
    upload = store.create_multipart("e/film", "video/mp4")
    with faulty.having(Once(broken_connection()), "part"):
        etag = store.upload_part("e/film", upload, 1, io.BytesIO(body))
    store.complete_multipart("e/film", upload, [(1, etag)])
    assert store.get_range("e/film", 0, PART) == body


def test_a_deletion_that_fails_says_so(faulty: FaultyStorage, store: storage.ObjectStore) -> None:
    store.put("f/x", b"x")
    with faulty.having(error(503, "SlowDown"), "delete"), pytest.raises(StorageAway):
        store.delete("f/x")
    store.delete("f/x")


def test_a_storage_that_says_nothing_is_away_when_the_patience_is_over(
    faulty: FaultyStorage, settings: Settings
) -> None:
    for name, value in faulty.env.items():
        setattr(settings, name, value)
    impatient = storage.ObjectStore(client.make(read_seconds=0.3), settings.S3_BUCKET)
    silent: Fault = Held()
    with faulty.having(silent, "head"), pytest.raises(StorageAway):
        impatient.head("g/x")
    assert silent.met == client.ATTEMPTS


def test_a_question_that_a_client_waits_for_is_asked_once_and_briefly(
    faulty: FaultyStorage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in faulty.env.items():
        setattr(settings, name, value)
    monkeypatch.setattr(process, "BRIEF_SECONDS", 0.3)
    silent: Fault = Held()
    with faulty.having(silent, "parts"), pytest.raises(StorageAway):
        storage.brief().list_parts("i/film", "upload")
    storage.use(None)
    assert silent.met == 1


class _Cutting:
    """Takes so many bytes from each connection and resets it; ``heard`` has what it took."""

    def __init__(self, after_bytes: int) -> None:
        self._after_bytes, self.heard = after_bytes, list[bytes]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.heard.append(self._take(connection))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _take(self, connection: socket.socket) -> bytes:
        taken = b""
        while b"\r\n\r\n" not in taken and (piece := connection.recv(65536)):
            taken += piece
        if b"100-continue" in taken:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(taken) < self._after_bytes and (piece := connection.recv(65536)):
            taken += piece
        return taken

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def test_a_connection_that_is_cut_in_the_middle_of_a_part_again_and_again_is_given_up(settings: Settings) -> None:
    cutting = _Cutting(after_bytes=PART // 2)
    settings.S3_ENDPOINT_URL = cutting.url
    settings.AWS_ACCESS_KEY_ID = settings.AWS_SECRET_ACCESS_KEY = "any"
    body = content(PART)
    try:
        with pytest.raises(StorageAway):
            process.make().upload_part("h/film", "upload", 1, io.BytesIO(body))
    finally:
        cutting.close()
    assert len(cutting.heard) == client.ATTEMPTS
    for heard in cutting.heard:
        assert body.startswith(heard.partition(b"\r\n\r\n")[2]), "each begins with the part's first byte"
