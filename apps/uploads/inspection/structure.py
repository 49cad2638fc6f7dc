"""Whether all of a file is there, by its own account: a few small reads, nothing is decoded."""

from apps.uploads.inspection.facts import Refused
from apps.uploads.inspection.ranges import RangeFile
from apps.uploads.inspection.signatures import GIF, JPEG, PDF, PNG, WEBP, Family, Kind

_TAIL_BYTES = 64 * 1024
_BOXES_MAX = 100_000
_SEGMENT = b"\x18\x53\x80\x67"
_ENDS = {JPEG: b"\xff\xd9", PNG: b"IEND\xaeB`\x82", GIF: b";", PDF: b"%%EOF"}


def require_whole(file: RangeFile, kind: Kind) -> None:
    """
    Refuse a file that ends too early.

    Raises:
        Refused: it does.
    """
    if kind.family is Family.ISO:
        is_whole = _boxes_fit(file)
    elif kind.family is Family.MATROSKA:
        is_whole = _segment_fits(file)
    elif kind is WEBP:
        is_whole = int.from_bytes(file.at(4, 4), "little") + 8 <= file.size
    else:
        # Cameras and mailers put things behind the end, so it need not be the last.
        is_whole = _ENDS[kind] in file.at(file.size - _TAIL_BYTES, _TAIL_BYTES)
    if not is_whole:
        raise Refused("The file is damaged: its end is missing.")


def _boxes_fit(file: RangeFile) -> bool:
    """Go from box to box; the last one ends where the file does, and one of them is the index."""
    at, has_index = 0, False
    for _ in range(_BOXES_MAX):
        head = file.at(at, 16)
        if len(head) < 8:
            break
        size = int.from_bytes(head[:4], "big")
        has_index = has_index or head[4:8] == b"moov"
        if size == 0:
            return has_index  # to the end of the file
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8 or at + size > file.size:
            return False
        at += size
    return has_index and at <= file.size


def _segment_fits(file: RangeFile) -> bool:
    head = file.at(0, 1024)
    at = head.find(_SEGMENT)
    if at < 0:
        return False
    size, length = _vint(head[at + 4 : at + 12])
    is_open = size == (1 << 7 * length) - 1  # a live recording does not know
    return length > 0 and (is_open or at + 4 + length + size <= file.size)


def _vint(data: bytes) -> tuple[int, int]:
    """Read a number as EBML writes it (RFC 8794); gives it and its length."""
    if not data or not data[0]:
        return 0, 0
    length = 9 - data[0].bit_length()
    return int.from_bytes(data[:length], "big") & ((1 << 7 * length) - 1), length
