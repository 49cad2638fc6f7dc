"""The send loop in C: loaded where it can be had, and Python's where not."""

import ctypes
import logging
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from broadcast.sending import build
from broadcast.sending.loops import Part, PythonLoop, Rest, SendLoop

log = logging.getLogger(__name__)

_NONE: Final = -1
_ROOMS: Final = ("heads", "nexts", "owners", "firsts")


class _Part(ctypes.Structure):
    _fields_ = (
        ("lines", ctypes.c_void_p),
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_size_t),
        ("count", ctypes.c_int),
    )


class _Rest(ctypes.Structure):
    _fields_ = (("part", ctypes.c_int), ("place", ctypes.c_int), ("sent", ctypes.c_size_t))


class _Scratch(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_void_p) for name in _ROOMS)


def choose(*, native: bool, directory: Path) -> SendLoop:
    """Load the loop in C, compiled into ``directory`` if it is not there yet; else take the one in Python."""
    if not native:
        return PythonLoop()
    try:
        return NativeLoop(build.library(directory))
    except (build.CannotBuild, OSError, AttributeError) as problem:
        log.warning("Events are sent by the loop in Python", extra={"problem": str(problem)})
        return PythonLoop()


class NativeLoop:
    """
    The loop in C, by ctypes, which lets other threads run meanwhile.

    Not to be used by two threads at once: its scratch memory is kept from call to call, and grows as needed.
    """

    name = "native"

    def __init__(self, path: Path) -> None:
        send = ctypes.CDLL(str(path)).coursehub_send
        send.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        send.restype = ctypes.c_int
        self._send = send
        self._parts = (_Part * 1)()
        self._rests = (_Rest * 1)()
        self._scratch = _Scratch()
        self._rooms = {name: array("i") for name in _ROOMS}

    def send(self, parts: Sequence[Part], sockets: "array[int]") -> list[Rest]:
        """Write each part to the sockets of its lines; see `SendLoop`."""
        self._make_room(len(parts), sum([len(lines) for lines, _ in parts]), len(sockets))
        made = self._parts
        for number, (lines, data) in enumerate(parts):
            made[number] = _Part(lines.buffer_info()[0], data, len(data), len(lines))
        address, _ = sockets.buffer_info()
        count = self._send(made, len(parts), address, ctypes.byref(self._scratch), self._rests)
        return [Rest(rest.part, rest.place, rest.sent) for rest in self._rests[:count]]

    def _make_room(self, parts: int, entries: int, lines: int) -> None:
        if len(self._parts) < parts:
            self._parts = (_Part * (2 * parts))()
        if len(self._rests) < entries:
            self._rests = (_Rest * (2 * entries))()
        for name, needed in (("heads", lines), ("nexts", entries), ("owners", entries), ("firsts", parts)):
            room = self._rooms[name]
            if len(room) < needed:
                room.extend([_NONE] * (2 * needed - len(room)))
                setattr(self._scratch, name, room.buffer_info()[0])
