"""All parts together: started, killed, restarted and stopped, with parts that are faked."""

import http.client
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from coursehub.stack import datadir, errors, parts, ports, report
from coursehub.stack.datadir import DataDirectory
from coursehub.stack.stack import Stack
from tests.coursehub.stack.conftest import FAKE, is_alive, marked, until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("procfile") / "Procfile"
    lines = [f"api: {FAKE} listen PORT", f"worker: {FAKE} idle", f"broadcast: {FAKE} listen WEBSOCKET_PORT"]
    path.write_text("\n".join(lines))
    return path


NAMES = ("api", "worker", "broadcast", "broadcast:2")


@pytest.fixture(scope="module")
def stack(commands: Path) -> Iterator[Stack]:
    with Stack(names=NAMES, commands=commands, login=False, fast=True) as stack:
        yield stack


def secret_at(url: str) -> str:
    """What a faked part says: the SECRET_KEY that it was given."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


def log_of(stack: Stack, name: str) -> str:
    return stack.data.log(name).read_text()


def grandchild_of_the_worker(stack: Stack) -> int:
    lines = [line for line in log_of(stack, "worker").splitlines() if line.startswith("child ")]
    return int(lines[-1].split()[1])


def test_every_part_runs_with_the_same_secrets_and_addresses(stack: Stack) -> None:
    assert secret_at(stack.api_url) == stack.env["SECRET_KEY"]
    assert stack.env["BROADCAST_URL"] == f"http://127.0.0.1:{stack.port('broadcast')}"
    assert stack.ws_url == f"ws://127.0.0.1:{stack.port('broadcast')}/ws/"
    assert stack.env["COURSEHUB_EMBEDDED"] == "1"
    assert len({stack.env[name] for name in ("SECRET_KEY", "BROADCAST_SECRET", "TICKET_SECRET")}) == 3


def test_a_second_process_of_a_kind_has_a_port_and_a_log_of_its_own(stack: Stack) -> None:
    assert stack.port("broadcast:2") != stack.port("broadcast")
    assert secret_at(f"http://127.0.0.1:{stack.port('broadcast:2')}") == stack.env["SECRET_KEY"]
    assert stack.data.log("broadcast-2").exists()


def test_the_servers_of_the_test_session_are_not_the_stacks(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/other")
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://elsewhere")
    assert "elsewhere" not in stack.env["DATABASE_URL"]
    assert "CELERY_BROKER_URL" not in stack.env


def test_the_state_file_says_where_everything_is(stack: Stack) -> None:
    state = datadir.read_state(stack.data.path)
    assert state
    assert (state["apiUrl"], state["websocketUrl"]) == (stack.api_url, stack.ws_url)
    assert state["environment"]["DATABASE_URL"] == stack.env["DATABASE_URL"]
    assert state["processes"]["worker"] == stack.child("worker").pid


@pytest.mark.parametrize("name", NAMES)
def test_a_part_that_is_killed_stays_away_and_comes_back_where_it_was(stack: Stack, name: str) -> None:
    before = stack.child(name).pid
    stack.kill(name)
    assert not is_alive(before)
    assert not stack.child(name).running
    stack.restart(name)
    assert stack.child(name).running
    assert stack.child(name).pid != before


def test_a_killed_part_takes_its_own_children_along(stack: Stack) -> None:
    grandchild = grandchild_of_the_worker(stack)
    assert is_alive(grandchild)
    stack.kill("worker")
    until(lambda: not is_alive(grandchild))
    stack.restart("worker")


def test_any_signal_can_be_sent(stack: Stack) -> None:
    stack.kill("worker", signal.SIGTERM)
    assert stack.child("worker").wait() == -signal.SIGTERM
    stack.restart("worker")


def test_services_come_back_at_their_old_address_with_their_data(stack: Stack) -> None:
    database, broker = stack.env["DATABASE_URL"], stack.env["REDIS_URL"]
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE kept ()")
    redis.Redis.from_url(broker).set("kept", "yes")
    for name in ("postgres", "valkey", "swift"):
        stack.kill(name)
        stack.restart(name)
    with psycopg.connect(database) as connection:
        connection.execute("SELECT FROM kept")
    assert redis.Redis.from_url(broker).get("kept") == b"yes"


def test_two_stacks_run_side_by_side(stack: Stack, commands: Path) -> None:
    with Stack(names=["api"], commands=commands, login=False, fast=True) as other:
        assert secret_at(other.api_url) == other.env["SECRET_KEY"] != secret_at(stack.api_url)


def test_the_same_data_directory_is_refused(stack: Stack, commands: Path) -> None:
    second = Stack(DataDirectory.open(stack.data.path), names=["api"], commands=commands, login=False)
    with pytest.raises(errors.AlreadyRunning), second:
        pytest.fail("it ran")
    assert secret_at(stack.api_url)


def test_a_taken_port_is_reported_before_anything_starts(stack: Stack, commands: Path, data: DataDirectory) -> None:
    given = {"PORT": str(stack.port("api"))}
    with pytest.raises(errors.PortTaken, match="PORT"), Stack(data, names=["api"], given=given, commands=commands):
        pytest.fail("it ran")
    assert not (data.path / "postgres").exists()


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_ipv6_may_stand_in_brackets(
    commands: Path, data: DataDirectory, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    # Not every machine has one.
    monkeypatch.setattr(ports, "free_port", {"::1": 20_001}.__getitem__)
    stack = Stack(names=NAMES, commands=commands, data=data, given={"HOST": host}, login=False, fast=True)
    assert (stack.api_url, stack.ws_url) == ("http://[::1]:20001", "ws://[::1]:20001/ws/")


def test_a_part_that_the_procfile_does_not_know_is_refused(commands: Path) -> None:
    with pytest.raises(errors.ProcfileInvalid, match="how to start relay"):
        Stack(names=["relay"], commands=commands)


@pytest.mark.parametrize("line", [f"api: {FAKE} crash", f"release: {FAKE} crash\napi: {FAKE} listen PORT"])
def test_a_stack_that_cannot_start_says_why_and_leaves_nothing(data: DataDirectory, tmp_path: Path, line: str) -> None:
    (tmp_path / "Procfile").write_text(line)
    broken = Stack(data, names=["api"], commands=tmp_path / "Procfile", login=False, fast=True)
    with pytest.raises(errors.StartFailed, match=r"(?s)did not start: it ended with status 1.*made of cheese"), broken:
        pytest.fail("it ran")
    assert marked(data.path) == []
    assert datadir.read_state(data.path) is None


def test_a_service_of_somebody_elses_is_used_instead_of_ours(stack: Stack, commands: Path) -> None:
    given = {name: stack.env[name] for name in ("DATABASE_URL", "REDIS_URL", *parts.OBJECTS)}
    with Stack(names=["api"], given=given, commands=commands, login=False, fast=True) as guest:
        assert guest.runners.keys() == {"api"}
        assert guest.env["REDIS_URL"] == stack.env["REDIS_URL"]
        assert guest.env["S3_ENDPOINT_URL"] == stack.env["S3_ENDPOINT_URL"]


def test_a_shells_credentials_for_another_store_are_not_taken_for_ours(stack: Stack, commands: Path) -> None:
    given = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "else's", "S3_BUCKET": "other"}
    assert Stack(names=["api"], given=given, commands=commands)._given.keys().isdisjoint(given)


def test_stopping_leaves_no_process_and_no_directory(commands: Path) -> None:
    with Stack(names=["api", "worker"], commands=commands, login=False, fast=True) as stack:
        pids = [stack.child(name).pid for name in stack.runners] + [grandchild_of_the_worker(stack)]
        sockets = Path(psycopg.conninfo.conninfo_to_dict(stack.env["DATABASE_URL"])["host"])
    assert not any(map(is_alive, pids))
    assert not stack.data.path.exists()
    assert not sockets.exists()


def test_whatever_dies_comes_back_in_a_stack_that_restarts(commands: Path) -> None:
    said: list[str] = []
    with Stack(
        names=["api", "worker"], commands=commands, login=False, fast=True, restart=True, say=said.append
    ) as stack:
        for name in ("api", "worker", "postgres", "valkey", "swift"):
            dead = stack.child(name)
            stack.kill(name)
            until(lambda dead=dead, name=name: stack.child(name) is not dead)
            until(lambda name=name: f"{name} is started again." in said)
            assert f"{name} died (SIGKILL); its log: {stack.data.log(name)}" in said
        stack.wait_ready()
        with psycopg.connect(stack.env["DATABASE_URL"]) as connection:
            connection.execute("SELECT 1")


def test_what_cannot_come_back_is_tried_again_until_it_can(commands: Path) -> None:
    said: list[str] = []
    with Stack(names=["api"], commands=commands, login=False, fast=True, restart=True, say=said.append) as stack:
        version = stack.data.path / "postgres" / "PG_VERSION"
        right = version.read_text()
        version.write_text("9\n")
        stack.kill("postgres")
        until(lambda: any("incompatible with server" in line for line in said))
        version.write_text(right)
        until(lambda: "postgres is started again." in said)


def test_a_stack_that_restarts_does_not_restart_twice_what_is_restarted(commands: Path) -> None:
    said: list[str] = []
    with Stack(names=["api"], commands=commands, login=False, fast=True, restart=True, say=said.append) as stack:
        stack.restart("api")
        again = stack.child("api")
        stack.kill("api")
        until(lambda: stack.child("api") is not again)
    assert said.count("api is started again.") == 1


def test_the_banner_says_where_everything_is_without_a_services_password(stack: Stack) -> None:
    shown = report.banner(stack)
    for address in (
        stack.api_url,
        stack.ws_url,
        "/api/docs/",
        "/admin/",
        stack.env["DATABASE_URL"],
        str(stack.data.path),
    ):
        assert address in shown
    assert stack.data.secret("VALKEY_PASSWORD") not in shown
    assert stack.env["S3_ENDPOINT_URL"] in shown and stack.env["AWS_SECRET_ACCESS_KEY"] not in shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:1/0", "redis://:…@h:1/0"),
        ("postgresql://me:s@cret@h/db", "postgresql://me:…@h/db"),
        ("postgresql://me@/db?host=/tmp/x", "postgresql://me@/db?host=/tmp/x"),
        ("redis://h:1", "redis://h:1"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert report.without_password(url) == shown
