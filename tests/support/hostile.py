"""Files that are not what their names say, or that want whoever opens them to do something."""

import io
import struct
import zipfile
import zlib

from tests.support import media

HUGE = 100_000


def files(port: int) -> dict[str, bytes]:
    """Make one of each; those that refer to something refer to this port of this machine."""
    return {
        "a zip": archive(),
        "a playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:%d/a.ts\n#EXT-X-ENDLIST\n"
        % port,
        "a playlist behind a film's first bytes": b"\0\0\0\x18ftypisom\0\0\0\0isommp42#EXTM3U\nhttp://127.0.0.1:%d/\n"
        % port,
        "a list of files": b"ffconcat version 1.0\nfile http://127.0.0.1:%d/film.mp4\n" % port,
        "an image with a script": b'<svg xmlns="http://www.w3.org/2000/svg"><script href="http://127.0.0.1:%d/"/></svg>'
        % port,
        "an image bomb": picture_claiming(60_000, 60_000),
        "an image that is one": media.image("PNG"),
        "a film that claims to be huge": film_claiming(HUGE, HUGE),
        "half of a film": media.video()[:20_000],
        "nothing but zeros": bytes(100_000),
    }


def archive() -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("film.mp4", b"no film")
    return into.getvalue()


def picture_claiming(width: int, height: int) -> bytes:
    """Make a PNG with a valid header, and hardly any pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def film_claiming(width: int, height: int) -> bytes:
    """Make a Matroska film of one picture, so large by its header, in a format that has no size of its own."""
    picture = _element("E0", _number("B0", width) + _number("BA", height) + _element("2EB524", b"I420"))
    track = _number("D7", 1) + _number("73C5", 1) + _number("83", 1) + _element("86", b"V_UNCOMPRESSED") + picture
    block = _element("A3", b"\x81\0\0\x80" + bytes(1000))
    segment = (
        _element("1549A966", _number("2AD7B1", 1_000_000) + _element("4489", struct.pack(">d", 40.0)))
        + _element("1654AE6B", _element("AE", track))
        + _element("1F43B675", _number("E7", 0) + block)
    )
    head = _number("4286", 1) + _number("42F7", 1) + _number("42F2", 4) + _number("42F3", 8)
    head += _element("4282", b"matroska") + _number("4287", 4) + _number("4285", 2)
    return _element("1A45DFA3", head) + _element("18538067", segment)


def _element(id_: str, body: bytes) -> bytes:
    """Write an element of EBML (RFC 8794)."""
    length = bytes([len(body) | 1 << 7]) if len(body) < 127 else (len(body) | 1 << 56).to_bytes(8, "big")
    return bytes.fromhex(id_) + length + body


def _number(id_: str, value: int) -> bytes:
    return _element(id_, value.to_bytes(max(1, -(-value.bit_length() // 8)), "big"))
