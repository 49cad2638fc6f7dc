"""Deleting from storage, however long it takes."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from apps.core import clock
from apps.uploads import playback, purges, reconciling, storage
from apps.uploads.models import Purge, StoredFile
from tests.support.memory_store import MemoryStore


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    store = MemoryStore()
    storage.use(store)
    yield store
    storage.use(None)


def a_file(key: str, **more: Any) -> StoredFile:
    facts = {"size": 1, "content_type": "image/png", "category": "image", "filename": "a.png", **more}
    return StoredFile.objects.create(key=key, created_at=clock.now(), **facts)


def _after(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """Have it be a second after a moment from now on."""
    monkeypatch.setattr(clock, "now", lambda: moment + timedelta(seconds=1))


def test_discarded_files_lose_their_rows_at_once_and_their_objects_soon(store: MemoryStore) -> None:
    keys = [f"media/{number}" for number in range(250)]
    for key in [*keys, "media/other"]:
        store.put(key, b"x")
    files = [a_file(key) for key in keys]
    kept = a_file("media/other")
    purges.discard(files, reason="test")
    assert list(StoredFile.objects.all()) == [kept]
    assert len(store.objects) == 251
    assert purges.work() == 250
    assert store.objects.keys() == {"media/other"}
    assert not Purge.objects.exists()


@pytest.mark.parametrize("duration_ms", [None, 2_000, 3 * 3_600_000, 30 * 86_400_000])
def test_whoever_was_given_a_url_of_a_file_reads_it_until_that_expires(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, duration_ms: int | None
) -> None:
    file = a_file("courses/1/film", duration_ms=duration_ms)
    store.put(file.key, b"film")
    expires_at = datetime.fromisoformat(playback.of(file)["expiresAt"])
    purges.discard([file], reason="replaced", is_played=True)

    _after(monkeypatch, expires_at - timedelta(seconds=5))
    assert purges.work() == 0 and file.key in store.objects
    _after(monkeypatch, expires_at + timedelta(seconds=5))
    assert purges.work() == 1 and not store.objects


def test_what_is_not_due_yet_waits_for_nobody(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    purges.discard([a_file("media/a")], reason="replaced", is_played=True)
    assert [family.samples[0].value for family in purges.backlog()] == [0, 0]
    assert list(reconciling.differences(timedelta(0))) == []
    _after(monkeypatch, clock.now() + timedelta(hours=1))
    count, age = (family.samples[0].value for family in purges.backlog())
    assert count == 1 and 0 < age < 60


def test_an_unfinished_upload_is_aborted_and_its_object_is_not_touched(store: MemoryStore) -> None:
    upload_id = store.create_multipart("media/a", "video/mp4")
    store.put("media/a", b"x")
    purges.purge("media/a", storage_upload_id=upload_id, reason="test")
    purges.work()
    assert not store.uploads and "media/a" in store.objects


def test_what_is_gone_already_is_done(store: MemoryStore) -> None:
    purges.purge("media/never", reason="test")
    purges.purge("media/never", storage_upload_id="upload-9", reason="test")
    assert purges.work() == 2
    assert not Purge.objects.exists()


def test_while_storage_is_away_one_is_tried_and_all_are_kept(store: MemoryStore) -> None:
    store.away = True
    for number in range(5):
        store.objects.clear()
        purges.purge(f"media/{number}", reason="test")
    assert purges.work() == 0
    assert store.calls["delete"] == 1
    assert Purge.objects.count() == 5
    (tried,) = Purge.objects.filter(attempts=1)
    assert tried.not_before > clock.now() and tried.last_error
    store.away = False
    assert purges.work() == 4
    Purge.objects.update(not_before=clock.now())
    assert purges.work() == 1


def test_the_pauses_double_up_to_an_hour(store: MemoryStore) -> None:
    store.away = True
    purges.purge("media/a", reason="test")
    pauses = []
    for _ in range(14):
        began = clock.now()
        purges.work()
        pauses.append(round((Purge.objects.get().not_before - began) / timedelta(seconds=1)))
        Purge.objects.update(not_before=began)
    assert pauses[:4] == [5, 10, 20, 40] and pauses[-1] == 3600


def test_one_that_is_refused_does_not_hold_up_the_others(store: MemoryStore) -> None:
    store.fail_next("delete", storage.StorageRefused("AccessDenied"))
    for key in ("media/a", "media/b"):
        store.put(key, b"x")
        purges.purge(key, reason="test")
    purges.work()
    assert store.objects.keys() == {"media/a"}
    assert Purge.objects.get().last_error == "StorageRefused: AccessDenied"


def test_the_backlog_is_reported(store: MemoryStore) -> None:
    purges.purge("media/a", reason="test")
    Purge.objects.update(due_at=clock.now() - timedelta(hours=1))
    count, age = (family.samples[0].value for family in purges.backlog())
    assert count == 1 and age >= 3600
