"""A check of delivery: what it says, where it stops, and what it leaves. With real processes: tests/e2e."""

import json
from collections.abc import Iterator

import pytest
from django.core.management import CommandError, call_command

from apps.accounts import services as accounts
from apps.accounts.models import User
from apps.core import errors
from apps.operations import lanes
from apps.operations.checking import journey, lane
from apps.operations.checking.journey import Report, Station
from apps.operations.checking.listener import Unreachable
from apps.operations.lanes import Outcome
from apps.operations.management.commands import check_delivery
from apps.operations.models import Operation, Step
from apps.outbox import delivery, drainer
from apps.outbox.models import OutboxEvent
from tests.support.bridge import MemoryBridge
from tests.support.check_listener import MemoryListener


@pytest.fixture
def delivering(workers: None) -> Iterator[MemoryBridge]:
    """A bridge that gets events as soon as they are committed."""
    bridge = MemoryBridge()
    drainer.use(lambda names: delivery.deliver(names, bridge))
    yield bridge
    drainer.use(None)


def check(listener: MemoryListener, *, timeout_seconds: float = 5) -> Report:
    return journey.check(timeout_seconds=timeout_seconds, connect=lambda *_: listener)


def test_it_passes_all_stations_in_order_and_leaves_only_its_user(delivering: MemoryBridge) -> None:
    listener = MemoryListener()
    report = check(listener)
    assert (report.stopped_at, list(report.milliseconds)) == (None, list(Station))
    assert all(milliseconds >= 0 for milliseconds in report.milliseconds.values())
    assert listener.closed
    assert len(delivering.posts) == 1
    assert not Operation.objects.exists() and not Step.objects.exists() and not OutboxEvent.objects.exists()
    assert User.objects.get().username == lane.USERNAME


def test_nobody_can_register_or_sign_in_as_its_user() -> None:
    with pytest.raises(errors.Invalid):
        accounts.register(username=lane.USERNAME, password="correct horse battery staple", email="")
    assert not lane.user().has_usable_password()


@pytest.fixture
def crashing() -> Iterator[None]:
    """Steps of checks crash, as they would with a worker that is broken."""

    class Crashing(lane.CheckLanes):
        def run(self, *_: object) -> list[Outcome]:
            raise ZeroDivisionError

    lanes.register(lane.KIND, Crashing())
    yield
    lane.register()


def test_a_step_that_fails_stops_it_at_the_worker(delivering: MemoryBridge, crashing: None) -> None:
    report = check(MemoryListener())
    assert report.stopped_at is Station.WORKER
    assert "failed" in report.problem


def test_a_step_that_nobody_runs_stops_it_in_the_queue_and_goes() -> None:
    listener = MemoryListener()
    report = check(listener, timeout_seconds=0.05)
    assert (report.stopped_at, list(report.milliseconds)) == (Station.QUEUE, [Station.CONNECT, Station.REQUEST])
    assert listener.closed
    assert not Step.objects.exists()


def test_an_event_that_is_not_delivered_stops_it_at_the_bridge_and_is_kept(workers: None) -> None:
    report = check(MemoryListener(hears=False), timeout_seconds=0.05)
    assert report.stopped_at is Station.BRIDGE
    assert not Operation.objects.exists()
    # A topic never skips a seq.
    assert [event.type for event in OutboxEvent.objects.all()] == ["batch-operation-complete"]


def test_an_event_that_is_not_heard_stops_it_at_the_socket(delivering: MemoryBridge) -> None:
    report = check(MemoryListener(hears=False, problem="The connection was lost: 1006."))
    assert report.stopped_at is Station.SOCKET
    assert report.problem.endswith("The connection was lost: 1006.")


def test_a_socket_that_does_not_open_stops_it_before_anything_is_asked_for() -> None:
    def refuse(url: str, *_: object) -> MemoryListener:
        raise Unreachable(f"{url} does not open")

    report = journey.check(timeout_seconds=1, url="ws://example.test/ws/", connect=refuse)
    assert (report.stopped_at, report.problem) == (Station.CONNECT, "ws://example.test/ws/ does not open")
    assert not Operation.objects.exists()


def test_two_checks_at_once_do_not_take_each_others_operations(delivering: MemoryBridge) -> None:
    one = lane.begin(lane.user())
    assert check(MemoryListener()).stopped_at is None
    assert [operation.key for operation in Operation.objects.all()] == [one]


ARRIVED = Report({Station.CONNECT: 10.0, Station.REQUEST: 4.0, Station.SOCKET: 1.5})


@pytest.mark.pure
@pytest.mark.parametrize(
    ("report", "code", "last_line"),
    [
        (ARRIVED, 0, "Delivered in 5.5 ms."),
        (Report(ARRIVED.milliseconds, warnings=["No worker."]), 1, "Delivered in 5.5 ms."),
        (Report({}, Station.QUEUE, "Nobody came."), 2, "Stopped at queue: Nobody came."),
    ],
)
def test_exit_code_and_words_agree(report: Report, code: int, last_line: str) -> None:
    assert check_delivery.exit_code(report) == code
    assert check_delivery.as_text(report).splitlines()[-1] == last_line
    said = json.loads(check_delivery.as_json(report))
    assert said["delivered"] is (code < 2)
    assert said["stoppedAt"] == (report.stopped_at and str(report.stopped_at))


@pytest.mark.pure
@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "inf", "nan"])
def test_a_timeout_that_is_none_is_refused(timeout: str) -> None:
    with pytest.raises(CommandError):
        call_command("check_delivery", f"--timeout={timeout}")
