"""Children: their end, their groups, and the watchdog that outlives their parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from coursehub.stack import errors, processes
from coursehub.stack.processes import Child
from coursehub.stack.watchdog import Charges, Watchdog
from tests.coursehub.stack.conftest import is_alive, until

POLITE = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("up", flush=True)
signal.pause()
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def child_of(tmp_path: Path, watchdog: Watchdog, program: str) -> Child:
    command = [sys.executable, "-c", program]
    return Child("part", command, log=tmp_path / "part.log", watchdog=watchdog, env=os.environ, cwd=tmp_path)


def said(child: Child) -> str:
    return child.log.read_text()


def test_stopping_asks_first(tmp_path: Path, watchdog: Watchdog) -> None:
    child = child_of(tmp_path, watchdog, POLITE)
    until(lambda: "up" in said(child))
    child.stop()
    child.stop()
    assert child.wait() == 7


def test_whoever_does_not_listen_is_killed(tmp_path: Path, watchdog: Watchdog) -> None:
    child = child_of(tmp_path, watchdog, DEAF)
    until(lambda: "deaf" in said(child))
    child.stop(grace_seconds=0.1)
    assert child.wait() == -signal.SIGKILL


def test_grandchildren_end_with_their_parent(tmp_path: Path, watchdog: Watchdog) -> None:
    program = (
        f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {DEAF!r}]).pid, flush=True); input()"
    )
    child = child_of(tmp_path, watchdog, program)
    child.wait()  # standard input is closed, so that it ends by itself
    grandchild = int(said(child).split()[0])
    assert is_alive(grandchild)
    child.reap()
    until(lambda: not is_alive(grandchild))


def test_a_child_that_ends_before_it_is_ready_says_why(tmp_path: Path, watchdog: Watchdog) -> None:
    child = child_of(tmp_path, watchdog, "import sys; sys.exit('no such table')")
    with pytest.raises(errors.StartFailed, match=r"(?s)part did not start: it ended with status 1.*no such table"):
        child.wait_until(lambda: False)


def test_a_child_that_is_never_ready_is_ended(tmp_path: Path, watchdog: Watchdog) -> None:
    child = child_of(tmp_path, watchdog, "import time; time.sleep(600)")
    with pytest.raises(errors.StartFailed, match="not ready after 0 s"):
        child.wait_until(lambda: False, seconds=0.1)
    assert not child.running


def test_a_program_that_ends_badly_is_reported(tmp_path: Path, watchdog: Watchdog) -> None:
    with pytest.raises(errors.StartFailed, match=r"(?s)release did not start: it ended with SIGKILL"):
        processes.run_to_end(
            "release",
            [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"],
            log=tmp_path / "release.log",
            watchdog=watchdog,
            env=os.environ,
            cwd=tmp_path,
        )


@pytest.mark.parametrize(("code", "words"), [(0, "status 0"), (-15, "SIGTERM"), (-63, "signal 63")])
def test_an_end_in_words(code: int, words: str) -> None:
    assert processes.describe_exit(code) == words


def test_the_tail_of_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert processes.tail(tmp_path / "none") == ""


PARENT = """
import os, subprocess, sys
from pathlib import Path
from coursehub.stack.processes import Child
from coursehub.stack.watchdog import Watchdog
folder = Path(sys.argv[1])
watchdog = Watchdog(grace_seconds=0.5)
watchdog.remove(folder / "temporary")
command = [sys.executable, "-c", sys.argv[2]]
child = Child("part", command, log=folder / "part.log", watchdog=watchdog, env=os.environ, cwd=folder)
print(child.pid, watchdog.process.pid, flush=True)
if sys.argv[3] == "fork" and os.fork() == 0:
    import time
    time.sleep(3)
    os._exit(0)
input()
"""


@pytest.mark.parametrize("also", ["nothing", "fork"])
def test_children_end_when_their_parent_is_killed_and_temporary_directories_go(tmp_path: Path, also: str) -> None:
    """A fork of the parent keeps its end of the pipe open, and must not hide its death."""
    (tmp_path / "temporary" / "deep").mkdir(parents=True)
    command = [sys.executable, "-c", PARENT, str(tmp_path), DEAF, also]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child, watchdog = map(int, parent.stdout.readline().split())
    until(lambda: "deaf" in (tmp_path / "part.log").read_text())
    parent.kill()
    parent.wait()
    until(lambda: not is_alive(child) and not is_alive(watchdog))
    assert not (tmp_path / "temporary").exists()


def test_the_watchdog_leaves_alone_what_it_was_told_to_forget(tmp_path: Path) -> None:
    watchdog = Watchdog()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], process_group=0)
    watchdog.watch(child.pid, signal.SIGTERM)
    watchdog.forget(child.pid)
    watchdog.close()
    assert child.poll() is None
    child.kill()
    child.wait()


def test_the_watchdog_cannot_be_interrupted(tmp_path: Path) -> None:
    watchdog = Watchdog()
    watchdog.remove(tmp_path / "x")
    until(lambda: _ignores(watchdog.process.pid, signal.SIGTERM))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(watchdog.process.pid, number)
    watchdog.forget(1)
    assert psutil.Process(watchdog.process.pid).is_running()
    watchdog.close()
    assert watchdog.process.returncode == 0


def _ignores(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored, 16) >> (number - 1) & 1)


def test_charges_end_gently_before_they_end_hard(tmp_path: Path) -> None:
    programs = [
        subprocess.Popen([sys.executable, "-c", text], process_group=0, stdout=subprocess.PIPE)
        for text in (POLITE, DEAF)
    ]
    for program in programs:
        assert program.stdout
        program.stdout.readline()
    charges = Charges()
    for program, number in zip(programs, (signal.SIGTERM, signal.SIGTERM), strict=True):
        charges.take(b'{"watch": %d, "signal": %d}' % (program.pid, number))
    (tmp_path / "gone").mkdir()
    charges.take(b'{"remove": "%s"}' % str(tmp_path / "gone").encode())
    charges.take(b'{"watch": 999999999, "signal": 15}')
    charges.end(grace_seconds=0.3)
    assert [program.wait() for program in programs] == [7, -signal.SIGKILL]
    assert not (tmp_path / "gone").exists()
