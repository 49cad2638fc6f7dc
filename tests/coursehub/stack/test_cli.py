"""``python -m coursehub.stack``, as a person or make calls it."""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from coursehub.stack import cli, datadir, errors, ports, privileges, report
from coursehub.stack.datadir import DataDirectory
from tests.coursehub.stack.conftest import as_ordinary_user, is_alive, marked, until

pytestmark = pytest.mark.e2e
COMMAND = [sys.executable, "-m", "coursehub.stack"]
EXPORT = re.compile(r"export (\w+)=(\S+)")


class Running:
    """A command that runs until told to stop, with what it has printed."""

    def __init__(self, command: list[str], data: Path, **env: str) -> None:
        self.data, self.output = data, data.parent / "output"
        clean = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=clean | {"COURSEHUB_DATA": str(data)} | env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, text: str) -> "Running":
        until(lambda: text in self.text or self.process.poll() is not None, seconds=60)
        assert text in self.text, self.text
        return self

    def exports(self) -> dict[str, str]:
        return {name: value.strip("'") for name, value in EXPORT.findall(self.text)}

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def running(folder: Path) -> Iterator[list[Running]]:
    """Whatever a test starts and puts in here ends with it."""
    started: list[Running] = []
    yield started
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        until(lambda one=one: marked(one.data.resolve()) == [])


def services(running: list[Running], data: Path, command: list[str] | None = None) -> Running:
    running.append(Running(command or [*COMMAND, "services"], data))
    return running[-1].wait_for("export COURSEHUB_DATA")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_services_run_until_a_signal_and_their_variables_can_be_used(
    running: list[Running], folder: Path, number: signal.Signals
) -> None:
    one = services(running, folder / "data")
    env = one.exports()
    psycopg.connect(env["DATABASE_URL"]).close()
    assert redis.Redis.from_url(env["REDIS_URL"]).ping()
    assert one.end(number) == 0
    assert "Stopped." in one.text
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(env["DATABASE_URL"])
    assert marked(folder / "data") == []


def test_everything_ends_with_a_killed_command_and_the_next_one_finds_the_data(
    running: list[Running], folder: Path
) -> None:
    one = services(running, folder / "data")
    with psycopg.connect(one.exports()["DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE kept ()")
    before = one.exports()
    one.end(signal.SIGKILL)
    two = services(running, folder / "data")  # at once: what is left of the first has to make way
    with psycopg.connect(two.exports()["DATABASE_URL"]) as connection:
        connection.execute("SELECT FROM kept")
    assert two.exports()["SECRET_KEY"] == before["SECRET_KEY"]
    assert two.end() == 0


def test_it_ends_with_the_process_that_called_it(running: list[Running], folder: Path) -> None:
    """``make`` is killed, and what it ran must not go on unseen."""
    caller = ["sh", "-c", '"$@" & wait', "sh", *COMMAND, "services", "--with-parent"]
    one = services(running, folder / "data", caller)
    assert marked(folder / "data")
    one.end(signal.SIGKILL)
    until(lambda: marked(folder / "data") == [])
    until(lambda: "Stopped." in one.text)


def test_an_ordinary_user_can_run_it_from_a_home_that_is_closed_to_others(running: list[Running], folder: Path) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    if account := privileges.unprivileged_account():
        os.chown(home, account.uid, account.gid)
    one = services(running, home / "data", as_ordinary_user([*COMMAND, "services"]))
    connect = [sys.executable, "-c", "import psycopg, sys; psycopg.connect(sys.argv[1])", one.exports()["DATABASE_URL"]]
    assert subprocess.run(as_ordinary_user(connect), check=False).returncode == 0
    assert (home / "data").stat().st_mode & 0o777 == 0o700
    assert one.end() == 0


def test_a_second_run_on_the_same_data_ends_at_once_with_the_reason(running: list[Running], folder: Path) -> None:
    one = services(running, folder / "data")
    env = os.environ | {"COURSEHUB_DATA": str(folder / "data")}
    two = subprocess.run([*COMMAND, "services"], env=env, capture_output=True, text=True, check=False)
    assert two.returncode == 1
    assert f"already runs from {folder / 'data'} (process {one.process.pid})" in two.stderr


def test_cleaning_deletes_the_data_and_what_was_kept_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = folder / "elsewhere" / "postgres"
    elsewhere.mkdir(parents=True)
    data = DataDirectory.open(folder / "data")
    (data.path / "postgres").symlink_to(elsewhere)
    monkeypatch.setenv("COURSEHUB_DATA", str(data.path))
    cli.clean(argparse.Namespace())
    assert not data.path.exists()
    assert not elsewhere.parent.exists()


def test_cleaning_what_is_running_is_refused(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    data.lock()
    monkeypatch.setenv("COURSEHUB_DATA", str(data.path))
    with pytest.raises(errors.AlreadyRunning):
        cli.clean(argparse.Namespace())
    assert data.path.exists()


RECORD = '{"level": "%s", "logger": "apps.outbox", "message": "The bridge is away."}'


@pytest.mark.parametrize(
    ("verbose", "level", "shown"),
    [
        (False, "INFO", ""),
        (False, "WARNING", "relay     | WARNING apps.outbox: The bridge is away.\n"),
        (True, "INFO", f"relay     | {RECORD % 'INFO'}\n"),
    ],
)
def test_the_terminal_shows_what_matters_unless_asked_for_all(
    capsys: pytest.CaptureFixture[str], verbose: bool, level: str, shown: str
) -> None:
    report.Listener(verbose)("relay", RECORD % level)
    assert capsys.readouterr().out == shown


def request(url: str, body: dict[str, str] | None = None) -> dict[str, object]:
    data = json.dumps(body).encode() if body else None
    asked = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
        found: dict[str, object] = json.load(answer)
        return found


def test_everything_runs_with_the_real_parts(running: list[Running], folder: Path) -> None:
    """What ``make run`` does: two starts, a login, a part that dies, an end that leaves nothing."""
    port, socket_port = ports.free_port(), ports.free_port()
    for _ in range(2):
        one = Running([*COMMAND, "run"], folder / "data", PORT=str(port), WEBSOCKET_PORT=str(socket_port))
        running.append(one)
        one.wait_for("Ctrl-C stops everything.")
        assert f"http://127.0.0.1:{port}/api/docs/" in one.text
        assert f"ws://127.0.0.1:{socket_port}/ws/" in one.text
        login = re.search(r"Log in as (\w+) with the password (\S+)", one.text)
        assert login
        token_url = f"http://127.0.0.1:{port}/api/v1/auth/token/"
        assert request(token_url, {"username": login[1], "password": login[2]})["success"] is True
        state = datadir.read_state(folder / "data")
        assert state and state["login"] == {"username": login[1], "password": login[2]}
        os.kill(state["processes"]["broadcast"], signal.SIGKILL)
        one.wait_for("broadcast is started again.")
        children = marked(folder / "data")
        assert len(children) >= 5
        assert one.end() == 0
        assert not any(map(is_alive, children))


def test_a_taken_port_ends_it_with_the_reason(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        env = os.environ | {"COURSEHUB_DATA": str(folder / "data"), "PORT": str(taken.getsockname()[1])}
        done = subprocess.run([*COMMAND, "run"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is already in use. Free it, or choose another: PORT=" in done.stderr
