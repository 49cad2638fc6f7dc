"""What only those know who can read the format: PyAV and Pillow, told which format it has to be."""

import warnings
from dataclasses import dataclass
from typing import Any

import av
import av.error
from PIL import Image, UnidentifiedImageError

from apps.uploads.inspection import structure
from apps.uploads.inspection.facts import Facts, Refused
from apps.uploads.inspection.ranges import RangeFile
from apps.uploads.inspection.signatures import HEAD_BYTES, PNG, Family, Kind, sniff

LARGEST_SIDE = 16_384
_DEMUXERS = {Family.ISO: "mov", Family.MATROSKA: "matroska"}
_UNREADABLE = "The file is damaged, or not what it seems to be."


@dataclass(frozen=True, slots=True)
class Limits:
    """What is taken: content types, the largest images in pixels, and the largest files of a category in bytes."""

    types: tuple[str, ...]
    image_pixels: int
    bytes_by_category: dict[str, int]


def probe(file: RangeFile, limits: Limits) -> Facts:
    """
    Find out what a file is.

    Raises:
        Refused: it is nothing that is taken.
    """
    if not file.size:
        raise Refused("The file is empty.")
    kind = sniff(file.at(0, HEAD_BYTES))
    if kind is None:
        raise Refused("Files of this kind cannot be uploaded.")
    structure.require_whole(file, kind)
    facts = _facts(file, kind, limits)
    if facts.content_type not in limits.types:
        raise Refused(f"Files of the type {facts.content_type} cannot be uploaded.")
    if file.size > limits.bytes_by_category.get(facts.category, file.size):
        raise Refused(f"A file of the type {facts.content_type} must not be so large.")
    return facts


def _facts(file: RangeFile, kind: Kind, limits: Limits) -> Facts:
    if kind.family is Family.PDF:
        return Facts(kind.content_type, "document", kind.name)
    if kind.family is Family.IMAGE:
        return _image(file, kind, limits)
    try:
        return _video(file, kind)
    except (av.error.FFmpegError, ValueError) as error:
        raise Refused(_UNREADABLE) from error


def _image(file: RangeFile, kind: Kind, limits: Limits) -> Facts:
    """Read the header only: what is claimed there is checked before anyone makes room for it."""
    file.seek(0)
    Image.MAX_IMAGE_PIXELS = limits.image_pixels
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            image = Image.open(file, formats=[kind.name])  # type: ignore[arg-type]
        width, height = image.size
        if kind is PNG:
            image.verify()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refused("The image has too many pixels.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, IndexError) as error:
        raise Refused(_UNREADABLE) from error
    _require_sane(width, height)
    return Facts(kind.content_type, "image", kind.name, width=width, height=height, codecs=())


def _video(file: RangeFile, kind: Kind) -> Facts:
    file.seek(0)
    # Neither a playlist nor anything named in the file may lead anywhere: one demuxer, no protocols.
    options = {
        "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2" if kind.family is Family.ISO else "matroska,webm",
        "protocol_whitelist": "",
        "enable_drefs": "0",
        "use_absolute_path": "0",
        "probesize": str(1024 * 1024),
        "analyzeduration": "1000000",
    }
    if kind.family is not Family.ISO:
        del options["enable_drefs"], options["use_absolute_path"]
    with av.open(file, format=_DEMUXERS[kind.family], container_options=options) as container:
        return _facts_of(container, kind)


def _facts_of(container: Any, kind: Kind) -> Facts:
    videos = [stream for stream in container.streams.video if not stream.disposition & stream.disposition.attached_pic]
    sounds = list(container.streams.audio)
    codecs = tuple(_codec(stream) for stream in (*videos, *sounds))
    duration_ms = round(container.duration / 1000) if container.duration and container.duration > 0 else None
    if not codecs:
        raise Refused("There is neither picture nor sound in the file.")
    if not videos:
        content_type = kind.content_type.replace("video/", "audio/")
        return Facts(content_type, "other", kind.name, duration_ms=duration_ms, codecs=codecs)
    width, height = videos[0].width, videos[0].height
    _require_sane(width, height)
    return Facts(kind.content_type, "video", kind.name, duration_ms, width, height, codecs)


def _codec(stream: Any) -> str:
    context = stream.codec_context
    return str(context.codec.canonical_name) if context else "unknown"


def _require_sane(width: int, height: int) -> None:
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        raise Refused(f"The picture says that it is {width} × {height} pixels large.")
