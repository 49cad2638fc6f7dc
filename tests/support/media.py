"""Real videos, images and documents, made here, with known figures."""

import io
import math
import random
from array import array
from fractions import Fraction

import av
from PIL import Image

RATE = 25


def video(
    format: str = "mp4",  # noqa: A002 - what PyAV calls it
    *,
    codec: str = "libx264",
    width: int = 320,
    height: int = 180,
    seconds: float = 2.0,
    sound: str | None = "aac",
    index_first: bool = False,
) -> bytes:
    """Make a video of moving stripes, with a tone; ``index_first``: an MP4 whose index is at its beginning."""
    into = io.BytesIO()
    with av.open(into, "w", format=format) as container:
        picture = container.add_stream(codec, rate=RATE)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        tone = container.add_stream(sound, rate=48_000) if sound else None
        for number in range(round(seconds * RATE)):
            container.mux(picture.encode(_frame(number, width, height)))
        container.mux(picture.encode())
        if tone:
            for frame in _tone(seconds):
                container.mux(tone.encode(frame))
            container.mux(tone.encode())
    made = into.getvalue()
    return with_index_first(made) if index_first else made


def sound(seconds: float = 1.0) -> bytes:
    """Make an MP4 with a tone and no picture."""
    into = io.BytesIO()
    with av.open(into, "w", format="mp4") as container:
        tone = container.add_stream("aac", rate=48_000)
        for frame in _tone(seconds):
            container.mux(tone.encode(frame))
        container.mux(tone.encode())
    return into.getvalue()


def with_stuffing(mp4: bytes, stuffing_bytes: int) -> bytes:
    """Put nothing, and much of it, between an MP4's data and its index."""
    *before, (_, moov) = _boxes(mp4)
    free = (stuffing_bytes + 8).to_bytes(4, "big") + b"free" + bytes(stuffing_bytes)
    return b"".join([*(body for _, body in before), free, moov])


def video_with_reference(url: bytes) -> bytes:
    """Make an MP4 that says that its data are in another file, at this address."""
    made = video(sound=None)
    here = (12).to_bytes(4, "big") + b"url \0\0\0\1"
    there = (12 + len(url)).to_bytes(4, "big") + b"url \0\0\0\0" + url
    at = made.rindex(here)
    grown = bytearray(made[:at] + there + made[at + len(here) :])
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        place = grown.rindex(kind) - 4
        grown[place : place + 4] = (int.from_bytes(grown[place : place + 4], "big") + len(url)).to_bytes(4, "big")
    return bytes(grown)


def with_index_first(mp4: bytes) -> bytes:
    """Move an MP4's index in front of its data, as ``-movflags +faststart`` does; that wants a file with a name."""
    boxes = list(_boxes(mp4))
    moov = next(body for kind, body in boxes if kind == b"moov")
    others = [body for kind, body in boxes if kind not in (b"moov", b"ftyp")]
    return b"".join([boxes[0][1], _shifted(moov, len(moov)), *others])


def image(format: str, width: int = 64, height: int = 48) -> bytes:  # noqa: A002 - what Pillow calls it
    """Make an image of noise, so that it does not shrink to nothing."""
    noise = random.Random(1).randbytes(3 * width * height)
    into = io.BytesIO()
    Image.frombytes("RGB", (width, height), noise).save(into, format)
    return into.getvalue()


def pdf() -> bytes:
    """Make a document of one empty page."""
    into = io.BytesIO()
    Image.new("RGB", (20, 20)).save(into, "PDF")
    return into.getvalue()


def _frame(number: int, width: int, height: int) -> av.VideoFrame:
    """Draw stripes that move by four pixels with each picture."""
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane in frame.planes:
        line = bytes((x + 4 * number) % 256 for x in range(plane.line_size))
        plane.update((line * plane.height).ljust(plane.buffer_size, b"\0")[: plane.buffer_size])
    frame.pts, frame.time_base = number, Fraction(1, RATE)
    return frame


def _tone(seconds: float) -> list[av.AudioFrame]:
    samples, at, frames = round(seconds * 48_000), 0, []
    while at < samples:
        count = min(1024, samples - at)
        wave = array("f", (0.1 * math.sin(0.05 * number) for number in range(at, at + count))).tobytes()
        frame = av.AudioFrame(format="fltp", layout="mono", samples=count)
        frame.planes[0].update(wave.ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
        frames.append(frame)
        at += count
    return frames


def _boxes(data: bytes, at: int = 0) -> "list[tuple[bytes, bytes]]":
    found = []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at : at + size]))
        at += size
    return found


def _shifted(moov: bytes, by: int) -> bytes:
    """The index with all chunks further down by so many bytes."""
    changed, at = bytearray(moov), moov.find(b"stco")
    while at >= 0:
        count = int.from_bytes(moov[at + 8 : at + 12], "big")
        for place in range(at + 12, at + 12 + 4 * count, 4):
            offset = int.from_bytes(moov[place : place + 4], "big") + by
            changed[place : place + 4] = offset.to_bytes(4, "big")
        at = moov.find(b"stco", at + 4)
    return bytes(changed)
