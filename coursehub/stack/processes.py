"""A child process: a group of its own, a log, and an end that takes everything it started along."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from coursehub.stack import errors, privileges
from coursehub.stack.watchdog import Watchdog

MARK = "COURSEHUB_STACK_DATA"
"""In the environment of every child: whose it is. A later run finds by it what a killed one left behind."""
_TAIL_LINES = 15


class Child:
    """
    One running program in a process group of its own, known to the watchdog for as long as it lives.

    ``gentle`` is the signal that asks it to end; whatever of its group is left after the grace period is killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        watchdog: Watchdog,
        env: Mapping[str, str],
        cwd: Path,
        gentle: signal.Signals = signal.SIGTERM,
        account: privileges.Account | None = None,
        stdin: bytes | None = None,
        output: int | IO[bytes] | None = None,
    ) -> None:
        self.name, self.log, self.gentle, self._watchdog = name, log, gentle, watchdog
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=file if output is None else output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                process_group=0,
                **privileges.popen_arguments(account),
            )
        self.pid = self.process.pid
        self._asked = self._reaped = False
        watchdog.watch(self.pid, gentle)
        if stdin:
            self._write(stdin)

    @property
    def running(self) -> bool:
        """Whether the program itself has not ended."""
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program and to everything in its group."""
        _signal_group(self.pid, number)

    def wait(self) -> int:
        """Wait for the program's end; negative: the signal that ended it."""
        return self.process.wait()

    def ask_to_end(self) -> None:
        """Ask the program to end, without waiting for it, and once: many take a second time for impatience."""
        if not self._asked:
            self._asked = True
            # Only the program: a master that drains its own children must not find them gone.
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(self.gentle)

    def stop(self, grace_seconds: float = 10.0) -> None:
        """End the program and its group; whoever does not listen is killed. Safe to call again."""
        if self.running:
            self.ask_to_end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace_seconds)
        self.reap()

    def reap(self) -> None:
        """Kill what is left of the group; the program has ended or has had its time. Safe to call again."""
        if self._reaped:
            return  # the number may be another group's by now
        self._reaped = True
        self.send(signal.SIGKILL)
        self.process.wait()
        self._watchdog.forget(self.pid)

    def wait_until(self, is_ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """
        Wait for the program to be ready.

        Raises:
            StartFailed: it ended, or the time is up; it does not run any more.
        """
        deadline = time.monotonic() + seconds
        while True:
            ready = is_ready()
            if not self.running:  # looked at second: somebody else's answer must not pass for ours
                self._fail(f"it ended with {describe_exit(self.process.returncode)}")
            if ready:
                return
            if time.monotonic() > deadline:
                self._fail(f"it was not ready after {seconds:.0f} s")
            time.sleep(0.01)

    def _fail(self, reason: str) -> None:
        self.stop()
        raise errors.StartFailed(self.name, reason, self.log, tail(self.log))

    def _write(self, data: bytes) -> None:
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError), self.process.stdin as pipe:
            pipe.write(data)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def run_to_end(name: str, command: Sequence[str | Path], *, log: Path, **how: Any) -> None:
    """
    Run a program that ends by itself; ``how``: as for `Child`.

    Raises:
        StartFailed: it did not end well.
    """
    child = Child(name, command, log=log, **how)
    try:
        code = child.wait()
    finally:
        child.stop()
    if code:
        raise errors.StartFailed(name, f"it ended with {describe_exit(code)}", log, tail(log))


def describe_exit(code: int) -> str:
    """Say in words how a program ended."""
    if code >= 0:
        return f"status {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def tail(path: Path) -> str:
    """The last lines of a log."""
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
    return ""
