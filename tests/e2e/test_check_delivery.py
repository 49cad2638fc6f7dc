"""``manage.py check_delivery`` against real processes: it arrives, or it names the station where it stopped."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from coursehub.stack import ports, procfile
from tests.support.broadcast_process import Broadcast
from tests.support.broadcast_valkey import Valkey
from tests.support.cutting_proxy import CuttingProxy
from tests.support.stack import Site, running

Json = dict[str, Any]

STATIONS = ["connect", "request", "queue", "worker", "bridge", "socket"]
_LEFT = """
    SELECT (SELECT count(*) FROM operations_operation WHERE kind = 'delivery-check'),
        (SELECT count(*) FROM operations_step WHERE action = 'delivery.check'),
        (SELECT count(*) FROM outbox_outboxevent event JOIN accounts_user asker ON event.topic = 'user:' || asker.id
            WHERE asker.username = 'delivery check')
"""


@pytest.fixture(scope="module")
def bridge() -> Iterator[CuttingProxy]:
    """The way of events to the broadcast service."""
    proxy = CuttingProxy(ports.free_port())
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def site(bridge: CuttingProxy) -> Iterator[Site]:
    """A CourseHub whose bridge is behind a proxy, and whose sockets are not."""
    given = {"WEBSOCKET_PORT": str(bridge.target), "BROADCAST_URL": f"http://127.0.0.1:{bridge.port}"}
    with running(given=given) as site:
        yield site


def check(site: Site, *arguments: str, timeout: float = 60, **environ: str) -> tuple[int, str]:
    """Run the command; returns its exit code and what it printed."""
    command = [sys.executable, "manage.py", "check_delivery", "--timeout", str(timeout), *arguments]
    ran = subprocess.run(
        command, cwd=procfile.PROJECT, env=site.stack.env | environ, capture_output=True, text=True, check=False
    )
    assert not ran.stderr.startswith("Traceback") and "\nTraceback" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout


def report(site: Site, **how: Any) -> tuple[int, Json]:
    """Run the command; returns its exit code and its JSON."""
    code, said = check(site, "--json", **how)
    return code, json.loads(said)


@contextmanager
def without(site: Site, *names: str) -> Iterator[None]:
    """Have parts killed, and back afterwards."""
    for name in names:
        site.stack.kill(name)
    try:
        yield
    finally:
        for name in names:
            site.stack.restart(name)


def test_it_arrives_says_how_long_it_was_where_and_leaves_nothing_behind(site: Site) -> None:
    # On a machine that is busy enough the relay would be sooner than the worker.
    with without(site, "relay"):
        code, said = report(site)
    assert (code, said["delivered"], said["stoppedAt"], said["problem"], said["warnings"]) == (0, True, None, None, [])
    assert list(said["milliseconds"]) == STATIONS
    assert 0 < said["totalMilliseconds"] < 60_000
    assert site.ask_database(_LEFT) == [(0, 0, 0)]


def test_it_says_so_to_a_person_as_well(site: Site) -> None:
    code, said = check(site)
    assert code in (0, 1)
    lines = said.splitlines()
    assert [line.split()[0] for line in lines[:6]] == STATIONS
    assert lines[-1].startswith("Delivered in ")


def test_without_a_worker_the_relay_saves_it_and_a_warning_says_so(site: Site) -> None:
    with without(site, "worker"):
        code, said = report(site)
    assert (code, said["delivered"]) == (1, True)
    assert said["warnings"] == [
        "No worker took the step; the relay ran it. The broker answers: look whether workers run, and at their logs."
    ]


def test_without_a_broker_the_relay_saves_it_and_a_warning_says_so(site: Site) -> None:
    code, said = report(site, CELERY_BROKER_URL=f"redis://127.0.0.1:{ports.free_port()}")
    assert (code, said["delivered"]) == (1, True)
    assert said["warnings"] == ["No worker took the step; the relay ran it. The broker is away (OperationalError)."]


def test_without_anyone_to_run_steps_it_stops_in_the_queue(site: Site) -> None:
    with without(site, "worker", "relay"):
        code, said = report(site, timeout=2)
        assert (code, said["stoppedAt"], list(said["milliseconds"])) == (2, "queue", ["connect", "request"])
        assert said["problem"].startswith("Neither a worker nor the relay ran the step within 2 s.")
        # Nobody who comes back later finds it.
        assert site.ask_database(_LEFT) == [(0, 0, 0)]


def test_a_bridge_that_is_away_is_named_and_what_waited_for_it_does_not_stop_the_next_check(
    site: Site, bridge: CuttingProxy
) -> None:
    bridge.go_away()
    try:
        code, said = report(site, timeout=2)
    finally:
        bridge.come_back()
    assert (code, said["stoppedAt"], list(said["milliseconds"])) == (2, "bridge", STATIONS[:4])
    assert said["problem"].startswith("The event was not delivered within 2 s.")
    assert f"http://127.0.0.1:{bridge.port} is away or not ready" in said["problem"]

    assert report(site)[1]["delivered"]
    assert site.ask_database(_LEFT) == [(0, 0, 0)]


def test_a_socket_that_does_not_open_is_named(site: Site) -> None:
    url = f"ws://127.0.0.1:{ports.free_port()}/ws/"
    code, said = report(site, WEBSOCKET_PUBLIC_URL=url)
    assert (code, said["stoppedAt"], said["milliseconds"]) == (2, "connect", {})
    assert said["problem"].startswith(f"{url} does not open: ")


def test_tickets_that_the_broadcast_service_does_not_take_are_named(site: Site) -> None:
    code, said = report(site, TICKET_SECRET="another secret, long enough for one, that nobody else has")
    assert (code, said["stoppedAt"]) == (2, "connect")
    assert "4001" in said["problem"]


def test_an_event_that_does_not_come_out_is_named(site: Site, tmp_path: Path) -> None:
    """The socket leads to another broadcast service, which does not share its Redis with the first."""
    valkey = Valkey().start()
    elsewhere = Broadcast(valkey.url, tmp_path / "log", TICKET_SECRET=site.stack.env["TICKET_SECRET"]).start()
    try:
        code, said = report(site, timeout=3, WEBSOCKET_PUBLIC_URL=f"ws://127.0.0.1:{elsewhere.port}/ws/")
        assert (code, said["stoppedAt"], list(said["milliseconds"])) == (2, "socket", STATIONS[:5])
        assert said["problem"] == "The broadcast service has the event, and the client did not get it."
        assert "Delivered in" in check(site, "--url", site.stack.ws_url)[1]
    finally:
        elsewhere.stop()
        valkey.close()


def test_without_a_database_it_stops_before_it_begins(site: Site) -> None:
    code, said = report(site, DATABASE_URL=f"postgresql://nobody@127.0.0.1:{ports.free_port()}/nothing")
    assert (code, said["stoppedAt"]) == (2, "connect")
    assert said["problem"].startswith("The database is away: ")


def test_a_timeout_that_is_none_is_refused(site: Site) -> None:
    for none in (0, -1, "soon"):
        assert check(site, timeout=none)[0] == 2
