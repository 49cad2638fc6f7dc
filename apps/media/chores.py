"""What the relay does for media: it ends the time of what has been in the trash for long enough."""

from datetime import datetime

from django.db import transaction

from apps.core import clock
from apps.media import purging, store
from apps.media.models import Media
from apps.outbox import relay
from apps.outbox.emit import Draft, emit
from apps.outbox.relay import Chore
from broadcast.contracts import events, topics

_AT_ONCE = 200
_EVERY_SECONDS = 60.0


def register() -> None:
    """Give the relay its chore for media."""
    relay.register(lambda: Chore("purge-media", _EVERY_SECONDS, purge_old))


def purge_old() -> None:
    """Purge the files whose time in the trash is over."""
    while _purge_some(clock.now()) == _AT_ONCE:
        pass


@transaction.atomic
def _purge_some(now: datetime) -> int:
    """Purge some of them; those that someone is at just now are left for the next time."""
    due = Media.objects.filter(deleted_at__isnull=False, purge_at__lte=now).order_by("id")
    files = list(due.select_for_update(skip_locked=True)[:_AT_ONCE])
    store.record(
        [
            store.entry(
                owner_id=str(file.owner_id),
                media_id=str(file.pk),
                media_name=file.name,
                action="media.purge",
                actor_id="",
                operation_id="",
                details={"because": "retention"},
                now=now,
            )
            for file in files
        ]
    )
    purging.purge([file.pk for file in files])
    drafts = [Draft(events.MEDIA_PURGED, topics.user(file.owner_id), "", {"mediaId": str(file.pk)}) for file in files]
    emit(drafts, now=now)
    return len(files)
