"""
The kinds of file that are known, by their first bytes.

A short list on purpose: what is not on it is not taken. Libraries that know a thousand signatures guess by extension
and by weak matches where they are not sure, which is what must not happen here.
"""

from dataclasses import dataclass
from enum import Enum

HEAD_BYTES = 4096
"""How much of a file is needed."""


class Family(Enum):
    """Who knows more about a kind."""

    ISO = "iso"
    MATROSKA = "matroska"
    IMAGE = "image"
    PDF = "pdf"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file. ``name`` is short, and for images what Pillow calls it, in small letters."""

    name: str
    content_type: str
    family: Family


MP4 = Kind("mp4", "video/mp4", Family.ISO)
QUICKTIME = Kind("quicktime", "video/quicktime", Family.ISO)
WEBM = Kind("webm", "video/webm", Family.MATROSKA)
MATROSKA = Kind("matroska", "video/x-matroska", Family.MATROSKA)
JPEG = Kind("jpeg", "image/jpeg", Family.IMAGE)
PNG = Kind("png", "image/png", Family.IMAGE)
GIF = Kind("gif", "image/gif", Family.IMAGE)
WEBP = Kind("webp", "image/webp", Family.IMAGE)
PDF = Kind("pdf", "application/pdf", Family.PDF)

_MP4_BRANDS = {
    *(b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"iso7", b"iso8", b"iso9", b"mp41", b"mp42", b"avc1"),
    *(b"av01", b"dash", b"MSNV", b"M4V ", b"M4VH", b"M4VP", b"M4A ", b"M4B ", b"3gp4", b"3gp5", b"3gp6", b"3gp7"),
    *(b"3g2a", b"3g2b", b"f4v ", b"XAVC", b"mmp4", b"cmfc", b"hvc1"),
}
_EBML, _DOCTYPE = b"\x1aE\xdf\xa3", b"\x42\x82"
_PLAIN = ((b"\xff\xd8\xff", JPEG), (b"\x89PNG\r\n\x1a\n", PNG), (b"GIF87a", GIF), (b"GIF89a", GIF), (b"%PDF-", PDF))


def sniff(head: bytes) -> Kind | None:
    """Say what kind of file begins so; None: none that is known."""
    for start, kind in _PLAIN:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[:4] == _EBML:
        return _by_doctype(head[:256])
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    # QuickTime before it had a brand: the boxes of old cameras.
    return QUICKTIME if head[4:8] in (b"moov", b"mdat", b"wide") else None


def _by_doctype(head: bytes) -> Kind | None:
    at = head.find(_DOCTYPE)
    if at < 0 or len(head) < at + 3:
        return None
    length = head[at + 2] & 0x7F
    name = head[at + 3 : at + 3 + length].rstrip(b"\0")
    return {b"webm": WEBM, b"matroska": MATROSKA}.get(name)


def _by_brand(head: bytes) -> Kind | None:
    """The major brand says it, or one of the compatible ones: AVIF and HEIC images have this shape, too."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if brands[0] == b"qt  ":
        return QUICKTIME
    if brands[0] in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"):
        return None
    return MP4 if _MP4_BRANDS.intersection(brands) else None
