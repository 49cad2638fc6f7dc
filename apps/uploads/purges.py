"""
What storage is to be rid of: written down in the transaction that lets go of it, done by the relay until it is.

An object is deleted, or an unfinished upload aborted; both may be done twice. While storage is away nothing is lost and
nobody waits: each purge comes again, after a pause that doubles.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Min
from prometheus_client.core import GaugeMetricFamily

from apps.core import clock
from apps.outbox import relay
from apps.outbox.relay import Chore
from apps.uploads import playback, storage
from apps.uploads.models import Purge, StoredFile

log = logging.getLogger(__name__)

AT_ONCE = 100
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 5, 3600


def register() -> None:
    """Give the relay its chore for purges."""
    relay.register(lambda: Chore("purge-storage", 2.0, work))


def purge(key: str, *, storage_upload_id: str = "", reason: str) -> None:
    """Have an object deleted, or (with ``storage_upload_id``) an unfinished upload aborted, after the commit."""
    now = clock.now()
    Purge.objects.create(key=key, storage_upload_id=storage_upload_id, reason=reason, not_before=now, due_at=now)


@transaction.atomic
def discard(files: Iterable[StoredFile], reason: str = "discarded", *, is_played: bool = False) -> None:
    """
    Let go of files that nothing refers to any more: their rows go now, their objects soon.

    ``is_played``: whoever was given a URL of one may go on with it; its object goes when none holds any more.
    """
    now, gone = clock.now(), list(files)
    due = {file.key: now + playback.lifetime(file) if is_played else now for file in gone}
    Purge.objects.bulk_create(Purge(key=key, reason=reason, not_before=at, due_at=at) for key, at in due.items())
    StoredFile.objects.filter(pk__in=[file.pk for file in gone]).delete()


def work() -> int:
    """Do all that is due; gives how many were done. Ends early when storage is away."""
    done = 0
    while due := _due(clock.now()):
        for one in due:
            if not _do(one):
                return done
            done += 1
    return done


def _due(now: datetime) -> list[Purge]:
    return list(Purge.objects.filter(not_before__lte=now).order_by("not_before", "pk")[:AT_ONCE])


def _do(one: Purge) -> bool:
    """Do one; False: storage is away, and the others need not be tried."""
    try:
        if one.storage_upload_id:
            storage.store().abort_multipart(one.key, one.storage_upload_id)
        else:
            storage.store().delete(one.key)
    except (storage.StorageAway, storage.StorageRefused) as error:
        _put_off(one, error)
        return not isinstance(error, storage.StorageAway)
    one.delete()
    return True


def try_now(one: Purge) -> bool:
    """Do one without waiting until it is due; False: it is still to be done."""
    _do(one)
    return not Purge.objects.filter(pk=one.pk).exists()


def _put_off(one: Purge, error: Exception) -> None:
    pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(one.attempts, 16))
    one.attempts, one.last_error = one.attempts + 1, str(error)
    one.not_before = clock.now() + timedelta(seconds=pause)
    one.save(update_fields=["attempts", "last_error", "not_before"])
    if isinstance(error, storage.StorageRefused):
        log.error("Storage refused to delete something.", extra={"key": one.key, "reason": str(error)})


def backlog() -> Iterable[GaugeMetricFamily]:
    """Say how much there is to be rid of by now, and for how long it has been waiting."""
    now = clock.now()
    due = Purge.objects.filter(due_at__lte=now).aggregate(count=Count("pk"), oldest=Min("due_at"))
    age = (now - due["oldest"]).total_seconds() if due["oldest"] else 0.0
    yield GaugeMetricFamily("coursehub_purges", "Objects and uploads that storage is to be rid of.", value=due["count"])
    yield GaugeMetricFamily("coursehub_purges_oldest_seconds", "For how long the oldest of them waits.", value=age)
