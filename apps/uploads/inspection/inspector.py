"""Asks what a file is, from a process that may talk to storage, of one that may not."""

import functools
import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.uploads.errors import NotAllowed
from apps.uploads.inspection import ranges
from apps.uploads.inspection.facts import Facts

log = logging.getLogger(__name__)

SECONDS = 30.0
"""What the child may take by itself: time that storage takes does not count."""
ANSWER_MAX_BYTES = 64 * 1024
_ROOT = Path(__file__).resolve().parents[3]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from apps.uploads.inspection import child; child.main()"
_UNREADABLE = {"refused": "The file is damaged, or not what it seems to be."}

Read = Callable[[int, int], bytes]
"""Gives so many bytes of the file from an offset on."""


class InspectionFailed(Exception):
    """Nothing was found out, and it is not the file's fault."""


def inspect(read: Read, size: int, *, seconds: float = SECONDS) -> Facts:
    """
    Say what a file is by its content. What ``read`` raises comes through.

    Raises:
        NotAllowed: it is nothing that is taken, or cannot be read.
        InspectionFailed: the inspecting process did not even start.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs, _started(theirs) as process:
        theirs.close()
        try:
            outcome = _Conversation(ours, read, size, seconds).hold()
        finally:
            process.kill()
    if "facts" in outcome:
        return Facts.of_dict(outcome["facts"])
    raise NotAllowed(outcome["refused"])


def _started(theirs: socket.socket) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _PROGRAM, str(_ROOT)],
        stdin=theirs.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        start_new_session=True,
    )


class _Conversation:
    """One child's questions, answered until it is done, dead, or out of time."""

    def __init__(self, link: socket.socket, read: Read, size: int, seconds: float) -> None:
        self._link, self._read, self._size = link, read, size
        self._left_seconds = seconds

    def hold(self) -> dict[str, Any]:
        """Give what the child says in the end, or that the file was too much for it."""
        limits = _limits()
        try:
            self._send(json.dumps({"size": self._size, **limits}).encode())
            if self._receive(len(ranges.HELLO)) != ranges.HELLO:
                raise InspectionFailed("the inspecting process says something else")
        except (OSError, EOFError) as error:
            raise InspectionFailed(repr(error)) from error
        try:
            return self._answer_all(limits["types"])
        except (OSError, EOFError, ValueError, TypeError, KeyError) as error:
            log.warning("A file was too much for its inspection.", extra={"reason": repr(error), "size": self._size})
            return _UNREADABLE

    def _answer_all(self, types: list[str]) -> dict[str, Any]:
        while True:
            verb, offset, length = ranges.ASK.unpack(self._receive(ranges.ASK.size))
            if verb == ranges.DONE:
                return _checked(self._receive(min(length, ANSWER_MAX_BYTES)), types)
            if verb != ranges.READ or length > ranges.BLOCK_BYTES or offset + length > self._size:
                raise ValueError("a question that no file needs")
            self._send(self._read(offset, length))

    def _send(self, data: bytes) -> None:
        self._timed(lambda: self._link.sendall(ranges.LENGTH.pack(len(data)) + data))

    def _receive(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = self._timed(functools.partial(self._link.recv, length - len(data)))
            if not piece:
                raise EOFError("the inspecting process is gone")
            data += piece
        return data

    def _timed(self, act: Callable[[], Any]) -> Any:
        if self._left_seconds <= 0:
            raise TimeoutError
        self._link.settimeout(self._left_seconds)
        began = time.monotonic()
        try:
            return act()
        finally:
            self._left_seconds -= time.monotonic() - began


def _limits() -> dict[str, Any]:
    sizes = {"image": settings.IMAGE_MAX_BYTES, "document": settings.DOCUMENT_MAX_BYTES}
    return {
        "types": settings.UPLOAD_TYPES,
        "image_pixels": settings.IMAGE_MAX_PIXELS,
        "bytes_by_category": sizes,
    }


def _checked(answer: bytes, types: list[str]) -> dict[str, Any]:
    """Take an answer for what it must be: whoever took the child over through a file would write another."""
    outcome = json.loads(answer)
    if "refused" in outcome:
        return {"refused": str(outcome["refused"])[:300]}
    facts = Facts.of_dict(outcome["facts"])
    numbers = (facts.duration_ms, facts.width, facts.height)
    if facts.content_type not in types or facts.category not in ("video", "image", "document", "other"):
        raise ValueError("a type that is not taken")
    if not all(number is None or (type(number) is int and 0 <= number < 2**53) for number in numbers):
        raise ValueError("figures that are none")
    if len(facts.format) > 32 or len(facts.codecs) > 64 or any(len(codec) > 32 for codec in facts.codecs):
        raise ValueError("names that are none")
    return {"facts": facts.as_dict()}
