"""Catching up on a topic's events over REST."""

from django.http import HttpResponse
from rest_framework.request import Request

from apps.accounts import audience
from apps.accounts.authentication import user_of
from apps.core import documentation, errors
from apps.core.api import ApiView
from apps.outbox import delivery, schemas, selectors
from apps.outbox.models import OutboxEvent
from broadcast.contracts import topics


class TopicEventsView(ApiView):
    """A topic's durable events."""

    @documentation.answers(None, answer=schemas.EventsAnswer, query=schemas.After, can_fail=(400, 404, 410))
    def get(self, request: Request, topic: str) -> HttpResponse:
        """Read the events after a seq, oldest first."""
        query = self.query(schemas.After)
        _must_be_heard_by(request, topic)
        # Asked first: what comes in between is then found, and not taken for something that is no longer kept.
        newest = selectors.newest_seq(topic)
        found = selectors.events_after(topic, query.after, query.limit + 1)
        _must_follow(topic, query.after, found, newest)
        return _answer(found[: query.limit], more=len(found) > query.limit)


def _must_be_heard_by(request: Request, topic: str) -> None:
    try:
        heard = audience.heard_by(user_of(request), [topic])
    except topics.InvalidTopic:
        heard = set()
    if not heard:
        raise errors.NotFound("There is no such topic.")


def _must_follow(topic: str, after: int, found: list[OutboxEvent], newest: int) -> None:
    """Refuse to skip events that are no longer kept."""
    complete = found[0].seq == after + 1 if found else newest <= after
    if not complete:
        oldest = selectors.oldest_kept_seq(topic)
        raise errors.Gone("Events this old are no longer kept; refetch.", oldestSeq=oldest)


def _answer(found: list[OutboxEvent], *, more: bool) -> HttpResponse:
    """Answer with the bodies as they are: they are encoded already."""
    bodies = ",".join(delivery.as_sent(event) for event in found)
    following = str(found[-1].seq) if more else "null"
    content = f'{{"success":true,"data":[{bodies}],"next":{following}}}'
    return HttpResponse(content, content_type="application/json")
