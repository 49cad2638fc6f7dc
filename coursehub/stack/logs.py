"""What a part says: all of it into a file, what matters to the terminal."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

KEPT_BYTES = 10 * 1024 * 1024
_GRAVE = {"WARNING", "ERROR", "CRITICAL"}
_LOOKS_GRAVE = re.compile(r"\b(WARNING|ERROR|CRITICAL|FATAL)\b|^Traceback |^\w*(Error|Exception): ")

Listener = Callable[[str], None]


class LogFile:
    """A file that is renamed to ``….1`` when it is full."""

    def __init__(self, path: Path, kept_bytes: int = KEPT_BYTES) -> None:
        self._path, self._kept_bytes = path, kept_bytes
        self._file = path.open("ab", buffering=0)

    def write(self, line: bytes) -> None:
        """Append a line, at once."""
        if self._file.tell() > self._kept_bytes:
            self._file.close()
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._file = self._path.open("ab", buffering=0)
        self._file.write(line)

    def close(self) -> None:
        self._file.close()


def follow(stream: IO[bytes], path: Path, listener: Listener) -> threading.Thread:
    """Copy a part's output to its log until it ends, and pass every line on."""
    thread = threading.Thread(target=_pump, args=(stream, path, listener), daemon=True, name=f"log {path.stem}")
    thread.start()
    return thread


def _pump(stream: IO[bytes], path: Path, listener: Listener) -> None:
    log = LogFile(path)
    for line in stream:
        log.write(line)
        listener(line.decode(errors="replace").rstrip("\n"))
    log.close()
    stream.close()


def is_grave(line: str) -> bool:
    """Whether an operator should see this line: a warning or worse."""
    record = _record(line)
    return record.get("level") in _GRAVE if record else bool(_LOOKS_GRAVE.search(line))


def readable(line: str) -> str:
    """A line for a person: the level, the logger and the message of a JSON record; any other line as it is."""
    record = _record(line)
    if not record:
        return line
    text = f"{record.get('level', '')} {record.get('logger', '')}: {record.get('message', '')}"
    return "\n".join(filter(None, [text, record.get("exc_info")]))


def _record(line: str) -> dict[str, str]:
    if not line.startswith("{"):
        return {}
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
