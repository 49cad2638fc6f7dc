"""The loop that writes to sockets, in Python; `broadcast.sending.native` has the same in C."""

import os
from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

WRITES_AT_ONCE: Final = 64
"""So many parts for one client go out in one system call."""

Part = tuple["array[int]", bytes]
"""Lines, and what each of them is to get."""


class Rest(NamedTuple):
    """Of the bytes of part number ``part``, its line at ``place`` got only ``sent``."""

    part: int
    place: int
    sent: int


class SendLoop(Protocol):
    """
    Writes to many sockets without waiting for any.

    ``name`` is for logs and metrics.
    """

    name: str

    def send(self, parts: Sequence[Part], sockets: "array[int]") -> Sequence[Rest]:
        """
        Write each part to the sockets of its lines; what one line gets of several parts goes out together, in order.

        Returns what did not go out: because a line is closed (socket -1), its buffer is full, or its connection
        broken, all of which look the same here. Once something of a line is in there, so is all that follows on it.
        """


class PythonLoop:
    """The loop where there is no compiler; one system call for each client, like the one in C."""

    name = "python"

    def send(self, parts: Sequence[Part], sockets: "array[int]") -> list[Rest]:
        """Write each part to the sockets of its lines; see `SendLoop`."""
        if len(parts) == 1:
            return self._send_one(*parts[0], sockets)
        return self._send_many(parts, sockets)

    def _send_one(self, lines: "array[int]", data: bytes, sockets: "array[int]") -> list[Rest]:
        rests, size, write = [], len(data), os.write
        # Nothing is called here but the system: one call more for each client would cost a tenth of that.
        for place, socket in enumerate(map(sockets.__getitem__, lines)):
            try:
                sent = write(socket, data) if socket >= 0 else 0
            except OSError:
                sent = 0
            if sent < size:
                rests.append(Rest(0, place, sent))
        return rests

    def _send_many(self, parts: Sequence[Part], sockets: "array[int]") -> list[Rest]:
        of_line: dict[int, list[tuple[int, int]]] = {}
        for number, (lines, _) in enumerate(parts):
            for place, line in enumerate(lines):
                of_line.setdefault(line, []).append((number, place))
        rests: list[Rest] = []
        for line, entries in of_line.items():
            chunks = [parts[number][1] for number, _ in entries]
            sent = _write(sockets[line], chunks)
            for (number, place), chunk in zip(entries, chunks, strict=True):
                if sent < len(chunk):
                    rests.append(Rest(number, place, sent))
                sent = max(sent - len(chunk), 0)
        return rests


def _write(socket: int, chunks: Sequence[bytes]) -> int:
    total = 0
    if socket >= 0:
        for start in range(0, len(chunks), WRITES_AT_ONCE):
            some = chunks[start : start + WRITES_AT_ONCE]
            try:
                sent = os.writev(socket, some)
            except OSError:
                break
            total += sent
            if sent < sum(map(len, some)):
                break
    return total
