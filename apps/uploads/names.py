"""Names and types as clients give them, made safe to keep and to show. Keys in storage are never made of them."""

import re
import unicodedata

LONGEST = 255
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,62}/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}")


def clean(name: str) -> str:
    """
    Give the last component of a path, without control characters and marks that turn the direction of writing.

    At most 255 characters, of which the extension is kept; ``file`` if nothing is left.
    """
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    seen = "".join(character for character in last if unicodedata.category(character) not in _HIDDEN)
    return _shorten(" ".join(seen.split()).strip(". ") or "file")


def _shorten(name: str) -> str:
    stem, dot, extension = name.rpartition(".")
    if len(name) <= LONGEST or not stem or len(extension) > 16:
        return name[:LONGEST]
    return stem[: LONGEST - len(extension) - 1] + dot + extension


def stem(name: str) -> str:
    """Give a name without its extension, as a title."""
    head, _, _ = name.rpartition(".")
    return head or name


def media_type(declared: str) -> str:
    """Give a declared media type in its plain form, empty if it is none. Nothing is decided by it."""
    plain = declared.partition(";")[0].strip().lower()
    return plain if _TYPE.fullmatch(plain) else ""
