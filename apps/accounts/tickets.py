"""Tickets: what a client shows to the broadcast service."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.accounts import audience
from apps.accounts.models import User
from apps.core import clock, errors
from broadcast.contracts import tickets, topics


@transaction.atomic
def issue(user: User, *, course_ids: Collection[UUID]) -> dict[str, Any]:
    """
    Make a ticket for the user's own topic and those of the courses: ``{url, ticket, expiresAt, topics}``.

    Raises:
        errors.NotFound: one of the courses is not the user's to hear; no ticket is made.
    """
    # The time is taken before access is checked, and the rules lock what they check: a ticket that was made from
    # access withdrawn meanwhile is always older than the withdrawal, so the broadcast service refuses it. Both times
    # are the database's: by the clocks of an API and a worker either might come first.
    now_ms = clock.to_ms(clock.now_of_database())
    wanted = [topics.user(user.pk), *dict.fromkeys(topics.course(id_) for id_ in course_ids)]
    missing = set(wanted) - audience.heard_by(user, wanted)
    if missing:
        raise errors.NotFound("One of these courses is not yours.", courseIds=sorted(_ids(missing)))
    seqs = audience.newest_seqs(wanted)
    text, ticket = tickets.issue(secret=settings.TICKET_SECRET, user_id=str(user.pk), seqs=seqs, now_ms=now_ms)
    expires_at = clock.from_ms(ticket.expires_at_ms)
    return {
        "url": settings.WEBSOCKET_PUBLIC_URL,
        "ticket": text,
        "expiresAt": clock.to_rfc3339(expires_at),
        "topics": wanted,
    }


def _ids(wanted: Collection[str]) -> list[str]:
    return [topics.parse(topic).id for topic in wanted]
