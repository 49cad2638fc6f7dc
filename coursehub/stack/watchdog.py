"""
Ends the children of a process that was killed, and takes its temporary directories away.

Runs as a process of its own, from this file alone: nobody can clean up after their own kill -9. The parent writes
one JSON line for each thing to look after, and its end closes the pipe.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

GRACE_SECONDS = 10.0


class Watchdog:
    """The parent's end of the pipe."""

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        # A session of its own: neither Ctrl-C nor a kill of the parent's group may reach it.
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__, str(grace_seconds)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._lock = threading.Lock()

    def watch(self, group: int, gentle: signal.Signals) -> None:
        """End this process group with ``gentle``, then with SIGKILL, when the parent dies."""
        self._send({"watch": group, "signal": int(gentle)})

    def forget(self, group: int) -> None:
        """This process group has ended."""
        self._send({"forget": group})

    def remove(self, path: Path) -> None:
        """Delete this directory at the end, after all children."""
        self._send({"remove": str(path)})

    def close(self) -> None:
        """Let it go: what it still looks after ends now, and the directories go."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()

    def _send(self, message: dict[str, object]) -> None:
        assert self.process.stdin
        with self._lock, contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()


class Charges:
    """What has to end with the parent."""

    def __init__(self) -> None:
        self.groups: dict[int, int] = {}
        self.paths: list[str] = []

    def take(self, line: bytes) -> None:
        """Follow one line of the parent's."""
        message = json.loads(line)
        if "watch" in message:
            self.groups[message["watch"]] = message["signal"]
        elif "forget" in message:
            self.groups.pop(message["forget"], None)
        else:
            self.paths.append(message["remove"])

    def end(self, grace_seconds: float) -> None:
        """End every group, gently first, then delete the directories."""
        for group, gentle in self.groups.items():
            _signal_group(group, gentle)
        deadline = time.monotonic() + grace_seconds
        while time.monotonic() < deadline and any(map(_group_lives, self.groups)):
            time.sleep(0.02)
        for group in self.groups:
            _signal_group(group, signal.SIGKILL)
        for path in self.paths:
            shutil.rmtree(path, ignore_errors=True)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _group_lives(group: int) -> bool:
    """Whether a process of the group still runs. The dead whom nobody has buried yet count for killpg, not for us."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # macOS refuses where only the dead are left
        return False
    states = [_state_and_group(path) for path in Path("/proc").glob("[0-9]*/stat")]
    return not states or any(found == group and state not in "ZX" for state, found in states)


def _state_and_group(stat: Path) -> tuple[str, int]:
    try:
        # The name of the program, in parentheses, may hold anything.
        state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return "X", 0
    return state, int(group)


def _parent_lines(parent: int) -> "list[bytes] | None":
    """What the parent wrote since; None: it is gone."""
    # The pipe alone would not do: a process that the parent forked keeps its end open.
    ready, _, _ = select.select([0], [], [], 0.5)
    if not ready:
        return [] if os.getppid() == parent else None
    chunk = os.read(0, 65_536)
    while chunk and not chunk.endswith(b"\n"):
        more = os.read(0, 65_536)
        if not more:
            break
        chunk += more
    return chunk.splitlines() if chunk else None


def main() -> None:
    """Look after what the parent names until it dies."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent, charges = os.getppid(), Charges()
    while (lines := _parent_lines(parent)) is not None:
        for line in lines:
            charges.take(line)
    charges.end(float(sys.argv[1]))


if __name__ == "__main__":
    main()
