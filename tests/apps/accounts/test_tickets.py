"""Tickets: what they grant, and that withdrawn access cannot slip through."""

import threading
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection, transaction

from apps.accounts import services as accounts
from apps.accounts import tickets as service
from apps.accounts.models import User
from apps.core import clock, errors
from apps.courses.models import Membership
from broadcast.contracts import tickets
from tests.support.api import ApiClient, events_of
from tests.support.threads import Running, until_someone_waits_for_a_lock


def test_a_ticket_grants_the_users_topic_and_the_courses(live: ApiClient, owner: User) -> None:
    course = live.course()
    live.chapter(course)
    data = live.post("realtime/tickets/", {"courseIds": [course]}).data

    assert data["topics"] == [f"user:{owner.pk}", f"course:{course}"]
    assert data["url"] == settings.WEBSOCKET_PUBLIC_URL
    ticket = tickets.read(data["ticket"], secret=settings.TICKET_SECRET)
    assert ticket.user_id == str(owner.pk)
    assert ticket.seqs == {f"user:{owner.pk}": 1, f"course:{course}": 2}
    assert ticket.expires_at_ms - ticket.issued_at_ms == 600_000


def test_a_ticket_needs_no_course(live: ApiClient, owner: User) -> None:
    assert live.post("realtime/tickets/").data["topics"] == [f"user:{owner.pk}"]


def test_one_course_that_is_not_the_users_refuses_all(live: ApiClient, stranger: User) -> None:
    mine, theirs = live.course(), ApiClient(stranger)
    foreign = theirs.course()
    answer = live.post("realtime/tickets/", {"courseIds": [mine, foreign]})

    assert (answer.status, answer.error["courseIds"]) == (404, [foreign])
    assert live.post("realtime/tickets/", {"courseIds": [mine] * 51}).status == 400
    assert live.post("realtime/tickets/", {"courseIds": ["x"]}).status == 400
    assert live.post("realtime/tickets/", {"courseIds": [mine, mine]}).data["topics"][1:] == [f"course:{mine}"]


def test_a_ticket_made_while_access_is_withdrawn_is_older_than_the_withdrawal(live: ApiClient, stranger: User) -> None:
    course = live.course()
    live.post(f"courses/{course}/members/", {"username": "stan", "role": "viewer"})
    membership = Membership.objects.get(course=course, user=stranger)
    made: list[dict] = []

    def withdraw() -> None:
        live.delete(f"courses/{course}/members/{stranger.pk}/")
        connection.close()

    with transaction.atomic():
        made.append(service.issue(stranger, course_ids=[membership.course_id]))
        remover = threading.Thread(target=withdraw)
        remover.start()
        remover.join(0.3)
        assert remover.is_alive(), "the withdrawal does not wait for the ticket"
    remover.join(10)

    ticket = tickets.read(made[0]["ticket"], secret=settings.TICKET_SECRET)
    (revoked,) = events_of(f"control:{stranger.pk}")
    assert ticket.issued_at_ms < revoked["before"]
    assert ApiClient(stranger).post("realtime/tickets/", {"courseIds": [course]}).status == 404


def test_withdrawal_counts_from_when_it_is_whatever_the_workers_clock_says(
    live: ApiClient, stranger: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    course, guest = live.course(), ApiClient(stranger)

    def ticket() -> tickets.Ticket:
        live.post(f"courses/{course}/members/", {"username": "stan", "role": "viewer"})
        made = guest.post("realtime/tickets/", {"courseIds": [course]}).data["ticket"]
        return tickets.read(made, secret=settings.TICKET_SECRET)

    earlier, slow = ticket(), clock.now() - timedelta(seconds=5)
    with monkeypatch.context() as machine:
        machine.setattr(clock, "now", lambda: slow)
        live.delete(f"courses/{course}/members/{stranger.pk}/")

    (revoked,) = events_of(f"control:{stranger.pk}")
    assert earlier.issued_at_ms <= revoked["before"] < ticket().issued_at_ms


def test_a_ticket_made_while_its_user_is_disabled_is_older_than_that(owner: User) -> None:
    with transaction.atomic():
        made = service.issue(owner, course_ids=[])
        disabling = Running(lambda: accounts.disable(User.objects.get(pk=owner.pk)))
        until_someone_waits_for_a_lock()
    disabling.result()

    (revoked,) = events_of(f"control:{owner.pk}")
    assert tickets.read(made["ticket"], secret=settings.TICKET_SECRET).issued_at_ms < revoked["before"]
    with pytest.raises(errors.NotFound):
        service.issue(owner, course_ids=[])
