"""What operators see of delivery, and what they can do about it."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.core import clock
from apps.outbox import delivery, lag, selectors, services
from apps.outbox.models import DeliveryCursor, OutboxEvent, Topic
from tests.apps.outbox.writing import CONTROL, COURSE, OTHER, THIRD, delivered, leased, revoke, withheld, write
from tests.support.api import clerks_browser, events_of
from tests.support.bridge import MemoryBridge
from tests.support.threads import Running

RAISED_BY = 1_000_000


@pytest.fixture
def bridge() -> MemoryBridge:
    return MemoryBridge()


@pytest.fixture(autouse=True)
def watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at delivery's lag as a process does that has just begun."""
    monkeypatch.setattr(lag, "watch", lag.Watch())


@pytest.fixture
def admin() -> Client:
    """The admin as a superuser's browser has it."""
    client = Client()
    client.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    return client


def _with_a_refused_event(bridge: MemoryBridge) -> OutboxEvent:
    write(COURSE, COURSE, COURSE)
    bridge.refuse(lambda event: event["type"] != "event-withheld" and event["seq"] == 2)
    while delivery.deliver({COURSE}, bridge):
        pass
    return OutboxEvent.objects.get(seq=2)


# Services


def test_redelivering_posts_a_topic_again_from_its_oldest_event(bridge: MemoryBridge, woken: list[set[str]]) -> None:
    write(COURSE, COURSE, COURSE, OTHER)
    delivery.deliver({COURSE, OTHER}, bridge)
    OutboxEvent.objects.filter(topic=COURSE, seq=1).delete()
    woken.clear()
    services.redeliver([COURSE])

    assert woken == [{COURSE}]
    assert (delivered(COURSE), delivered(OTHER)) == (1, 1)
    delivery.deliver({COURSE}, bridge)
    assert bridge.duplicates == 2
    assert bridge.seqs(COURSE) == [1, 2, 3]
    assert delivered(COURSE) == 3


def test_redelivering_may_begin_later(bridge: MemoryBridge) -> None:
    write(*[COURSE] * 5)
    delivery.deliver({COURSE}, bridge)
    services.redeliver([COURSE], from_seq=4)
    delivery.deliver({COURSE}, bridge)

    assert [event["seq"] for event in bridge.posts[-1]] == [4, 5]


def test_redelivering_skips_nothing_that_was_not_delivered_yet(bridge: MemoryBridge) -> None:
    write(COURSE)
    delivery.deliver({COURSE}, bridge)
    write(*[COURSE] * 4)
    services.redeliver([COURSE], from_seq=4)

    assert delivered(COURSE) == 1


def test_a_topic_of_which_nothing_is_kept_has_nothing_to_redeliver(bridge: MemoryBridge) -> None:
    write(COURSE)
    delivery.deliver({COURSE}, bridge)
    OutboxEvent.objects.all().delete()
    services.redeliver([COURSE])

    assert delivered(COURSE) == 1
    assert delivery.deliver({COURSE}, bridge) == set()


def test_a_delivery_under_way_cannot_undo_a_redelivery(bridge: MemoryBridge) -> None:
    write(COURSE, COURSE)
    delivery.deliver({COURSE}, bridge)
    write(COURSE)
    with bridge.held() as posting:
        under_way = Running(lambda: delivery.deliver({COURSE}, bridge))
        assert posting.wait(10)
        services.redeliver([COURSE])
    assert under_way.result() == {COURSE}

    assert (delivered(COURSE), leased(COURSE)) == (0, False)
    delivery.deliver({COURSE}, bridge)
    assert [event["seq"] for event in bridge.posts[-1]] == [1, 2, 3]


def test_a_released_event_goes_out_as_it_is_to_a_service_that_lacks_it(bridge: MemoryBridge) -> None:
    event = _with_a_refused_event(bridge)
    bridge.accept_all()
    bridge.forget(COURSE)
    services.release(event)
    services.redeliver([COURSE], from_seq=2)
    delivery.deliver({COURSE}, bridge)

    assert withheld() == []
    assert bridge.types(COURSE) == ["chapter-update-complete", "event-withheld", *["chapter-update-complete"] * 3]


def test_a_disabled_user_is_shut_out_through_the_outbox(owner: User, bridge: MemoryBridge) -> None:
    before = clock.to_ms(clock.now())
    accounts.disable(owner)

    (message,) = events_of(f"control:{owner.pk}")
    assert message == {"type": "access-revoked", "userId": str(owner.pk), "topic": None, "before": message["before"]}
    assert before <= message["before"] <= clock.to_ms(clock.now())
    delivery.deliver({f"control:{owner.pk}"}, bridge)
    assert bridge.controls == [message]


# After a restore


def _restored(bridge: MemoryBridge) -> None:
    """Raise the seqs of a database that is older than what clients have seen; the bridge has forgotten all."""
    write(*[COURSE] * 4)
    delivery.deliver({COURSE}, bridge)
    bridge.forget(COURSE)
    call_command("raise_seqs")


def test_raised_seqs_are_above_all_that_a_client_can_have_seen(bridge: MemoryBridge) -> None:
    _restored(bridge)

    assert selectors.newest_seq(COURSE) == delivered(COURSE) == 4 + RAISED_BY
    assert write(COURSE) == [5 + RAISED_BY]


def test_delivery_goes_on_after_the_leap_and_sends_nothing_again(bridge: MemoryBridge) -> None:
    _restored(bridge)
    write(COURSE, COURSE)
    posted = len(bridge.posts)
    assert delivery.deliver({COURSE}, bridge) == set()

    assert [[event["seq"] for event in post] for post in bridge.posts[posted:]] == [[5 + RAISED_BY, 6 + RAISED_BY]]
    assert selectors.behind() == []


def test_what_was_not_delivered_before_the_restore_is_part_of_what_clients_fetch(bridge: MemoryBridge) -> None:
    write(COURSE, OTHER)
    call_command("raise_seqs")
    write(OTHER)
    delivery.deliver({COURSE, OTHER}, bridge)

    assert (bridge.seqs(COURSE), bridge.seqs(OTHER)) == ([], [2 + RAISED_BY])


def test_an_interrupted_delivery_holds_up_nothing_after_the_restore(bridge: MemoryBridge) -> None:
    write(COURSE)
    delivery._claim([COURSE])
    call_command("raise_seqs")
    assert not leased(COURSE)


def test_raising_seqs_leaves_nothing_to_redeliver_from_before_the_leap(bridge: MemoryBridge) -> None:
    _restored(bridge)
    write(COURSE)
    services.redeliver([COURSE])

    assert delivered(COURSE) == 4 + RAISED_BY


def test_withdrawn_access_is_still_told_after_the_restore(bridge: MemoryBridge) -> None:
    revoke(COURSE)
    call_command("raise_seqs")
    delivery.deliver({CONTROL}, bridge)

    assert len(bridge.controls) == delivered(CONTROL) == 1


def test_users_who_had_no_event_when_the_backup_was_made_may_have_seen_some_since(owner: User) -> None:
    call_command("raise_seqs")

    own = f"user:{owner.pk}"
    assert write(own) == [1 + RAISED_BY]
    assert delivered(own) == RAISED_BY


def test_seqs_can_be_raised_again(capsys: pytest.CaptureFixture[str]) -> None:
    write(COURSE, OTHER)
    call_command("raise_seqs")
    call_command("raise_seqs")

    assert write(COURSE) == [2 + 2 * RAISED_BY]
    assert capsys.readouterr().out.splitlines() == ["Raised 2 topics by 1,000,000."] * 2


# The admin


def test_topics_show_how_far_they_are(admin: Client, bridge: MemoryBridge) -> None:
    write(COURSE, COURSE)
    delivery.deliver({COURSE}, bridge)
    write(COURSE)
    Topic.objects.create(name=OTHER)
    page = admin.get("/admin/outbox/topic/").content.decode()

    assert COURSE in page and OTHER in page
    assert '<td class="field-last_seq">3</td>' in page
    assert '<td class="field-delivered_seq">2</td>' in page
    assert '<td class="field-delivered_seq">-</td>' in page
    assert admin.get(f"/admin/outbox/topic/{COURSE.replace(':', '_3A')}/change/").status_code == 200
    assert COURSE in admin.get(f"/admin/outbox/topic/?q={COURSE[:20]}").content.decode()


def test_events_show_what_was_withheld_and_why(admin: Client, bridge: MemoryBridge) -> None:
    event = _with_a_refused_event(bridge)
    page = admin.get("/admin/outbox/outboxevent/?withheld=yes").content.decode()

    assert page.count('<td class="field-seq">') == 1
    assert "told to refuse it" in page
    assert admin.get("/admin/outbox/outboxevent/").content.decode().count('<td class="field-seq">') == 3
    detail = admin.get(f"/admin/outbox/outboxevent/{event.pk}/change/")
    assert detail.status_code == 200
    assert "chapter-update-complete" in detail.content.decode()
    found = admin.get("/admin/outbox/outboxevent/?q=save-1&type__exact=chapter-update-complete")
    assert found.content.decode().count('<td class="field-seq">') == 3


def test_the_admin_redelivers_topics(admin: Client, bridge: MemoryBridge, woken: list[set[str]]) -> None:
    write(COURSE, OTHER)
    delivery.deliver({COURSE, OTHER}, bridge)
    woken.clear()
    answer = admin.post("/admin/outbox/topic/", {"action": "redeliver", "_selected_action": [COURSE]}, follow=True)

    assert "They are on their way" in answer.content.decode()
    assert woken == [{COURSE}]
    assert (delivered(COURSE), delivered(OTHER)) == (0, 1)


def test_the_admin_releases_events(admin: Client, bridge: MemoryBridge, woken: list[set[str]]) -> None:
    event = _with_a_refused_event(bridge)
    woken.clear()
    answer = admin.post(
        "/admin/outbox/outboxevent/", {"action": "release", "_selected_action": [event.pk]}, follow=True
    )

    assert "They are on their way" in answer.content.decode()
    assert withheld() == []
    assert woken == [{COURSE}]
    assert delivered(COURSE) == 1


@pytest.mark.parametrize("model", ["topic", "outboxevent"])
def test_the_admin_changes_nothing_by_hand(admin: Client, model: str) -> None:
    write(COURSE)
    pk = COURSE.replace(":", "_3A") if model == "topic" else OutboxEvent.objects.get().pk

    assert admin.get(f"/admin/outbox/{model}/add/").status_code == 403
    assert admin.post(f"/admin/outbox/{model}/{pk}/change/", {"last_seq": 9, "seq": 9}).status_code == 403
    assert admin.post(f"/admin/outbox/{model}/{pk}/delete/", {"post": "yes"}).status_code == 403
    assert Topic.objects.get().last_seq == OutboxEvent.objects.get().seq == 1


@pytest.mark.parametrize(("may", "answered", "delivered_"), [("", 403, 1), ("view", 200, 1), ("change", 302, 0)])
def test_only_whoever_may_change_topics_may_redeliver_them(
    bridge: MemoryBridge, may: str, answered: int, delivered_: int
) -> None:
    write(COURSE)
    delivery.deliver({COURSE}, bridge)
    clerk = clerks_browser(f"{may}_topic")
    answer = clerk.post("/admin/outbox/topic/", {"action": "redeliver", "_selected_action": [COURSE]})

    assert answer.status_code == answered
    assert delivered(COURSE) == delivered_


@pytest.mark.parametrize(("may", "left"), [("view", 1), ("change", 0)])
def test_only_whoever_may_change_events_may_release_them(bridge: MemoryBridge, may: str, left: int) -> None:
    event = _with_a_refused_event(bridge)
    clerk = clerks_browser(f"{may}_outboxevent")
    clerk.post("/admin/outbox/outboxevent/", {"action": "release", "_selected_action": [event.pk]})

    assert len(withheld()) == left


def test_the_admin_shows_which_topics_are_behind(admin: Client, bridge: MemoryBridge) -> None:
    write(COURSE, OTHER)
    delivery.deliver({OTHER}, bridge)

    page = admin.get("/admin/outbox/topic/?behind=yes").content.decode()
    assert COURSE in page
    assert OTHER not in page


# Metrics


def _metrics() -> dict[str, float]:
    lines = Client().get("/metrics").content.decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith("coursehub_outbox")}


def test_with_everything_delivered_there_is_no_lag(bridge: MemoryBridge) -> None:
    write(COURSE)
    delivery.deliver({COURSE}, bridge)

    assert _metrics() == {
        "coursehub_outbox_topics_behind": 0,
        "coursehub_outbox_undelivered": 0,
        "coursehub_outbox_undelivered_max": 0,
        "coursehub_outbox_oldest_undelivered_seconds": 0,
        "coursehub_outbox_withheld": 0,
    }


def test_lag_counts_topics_and_events_and_the_age_of_the_oldest(bridge: MemoryBridge) -> None:
    write(COURSE, now=clock.now() - timedelta(hours=5))
    delivery.deliver({COURSE}, bridge)
    write(COURSE, now=clock.now() - timedelta(minutes=10))
    write(COURSE, OTHER, OTHER)
    revoke(COURSE)

    said = _metrics()
    assert (said["coursehub_outbox_topics_behind"], said["coursehub_outbox_undelivered"]) == (3, 5)
    assert said["coursehub_outbox_undelivered_max"] == 2
    assert 600 <= said["coursehub_outbox_oldest_undelivered_seconds"] < 700


def test_between_full_looks_only_topics_that_can_be_behind_are_looked_at(bridge: MemoryBridge) -> None:
    now = 0.0
    watch = lag.Watch(lambda: now)
    hours_ago = clock.now() - timedelta(hours=5)
    write(COURSE, now=hours_ago)
    assert (watch().topics, watch().topics) == (1, 1)  # it was behind, however long ago
    delivery.deliver({COURSE}, bridge)
    write(OTHER)
    assert (watch().topics, watch().events) == (1, 1)  # touched since

    now = 301.0
    assert watch().topics == 1
    write(THIRD, now=hours_ago)  # as one that is delivered again
    assert watch().topics == 1
    now = 602.0
    assert watch().topics == 2


def test_lag_whose_events_are_no_longer_kept_has_no_age() -> None:
    write(COURSE)
    OutboxEvent.objects.all().delete()

    said = _metrics()
    assert said["coursehub_outbox_undelivered"] == 1
    assert said["coursehub_outbox_oldest_undelivered_seconds"] == 0


def test_withheld_events_are_counted(bridge: MemoryBridge) -> None:
    _with_a_refused_event(bridge)

    assert _metrics()["coursehub_outbox_withheld"] == 1


def test_rows_have_names() -> None:
    write(COURSE)

    names = [str(Topic.objects.get()), str(OutboxEvent.objects.get()), str(DeliveryCursor.objects.get())]
    assert names == [COURSE, f"{COURSE} 1: chapter-update-complete", f"{COURSE} up to 0"]
