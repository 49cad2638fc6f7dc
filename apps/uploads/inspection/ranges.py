"""
How an inspecting process gets at the file: it asks its parent for ranges, over a socket that it was given.

Child → parent: ``>cQI``, a verb and two numbers: ``r`` offset length; ``d`` 0 length, followed by the outcome as JSON.
Parent → child: ``>I``, a length, followed by so many bytes; fewer than asked for at the end of the file.
"""

import io
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import IO

ASK, LENGTH = struct.Struct(">cQI"), struct.Struct(">I")
READ, DONE = b"r", b"d"
HELLO = b"+"
"""The child's first byte: a failure before it is not the file's fault."""
BLOCK_BYTES, BLOCKS_KEPT = 64 * 1024, 32

Fetch = Callable[[int, int], bytes]
"""Gives so many bytes from an offset on."""


class TooMuch(Exception):
    """More was read of the file than knowing it should take."""


class RangeFile(io.RawIOBase):
    """
    A file of which only those blocks are fetched that somebody reads; the latest are kept.

    ``budget_bytes``: how much may be fetched before `TooMuch` is raised.
    """

    def __init__(self, fetch: Fetch, size: int, *, budget_bytes: int) -> None:
        self.size, self.fetched = size, 0
        self._fetch, self._budget = fetch, budget_bytes
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, length: int = -1, /) -> bytes:
        end = self.size if length < 0 else min(self.size, self._at + length)
        pieces: list[bytes] = []
        while self._at < end:
            block = self._block(self._at // BLOCK_BYTES)
            piece = block[self._at % BLOCK_BYTES : self._at % BLOCK_BYTES + end - self._at]
            if not piece:
                break
            pieces.append(piece)
            self._at += len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def at(self, offset: int, length: int) -> bytes:
        """Read a range, and stay where we are."""
        before, self._at = self._at, max(0, offset)
        try:
            return self.read(length)
        finally:
            self._at = before

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            if self.fetched + BLOCK_BYTES > self._budget:
                raise TooMuch
            start = number * BLOCK_BYTES
            self._blocks[number] = self._fetch(start, min(BLOCK_BYTES, self.size - start))
            self.fetched += len(self._blocks[number])
            if len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]


def asking(stream: IO[bytes]) -> Fetch:
    """Fetch ranges by asking the parent at the other end of ``stream``."""

    def fetch(offset: int, length: int) -> bytes:
        stream.write(ASK.pack(READ, offset, length))
        stream.flush()
        return exactly(stream, LENGTH.unpack(exactly(stream, LENGTH.size))[0])

    return fetch


def exactly(stream: IO[bytes], length: int) -> bytes:
    """Read so many bytes; EOFError: the other end is gone."""
    data = stream.read(length) if length else b""
    if len(data) < length:
        raise EOFError
    return data
