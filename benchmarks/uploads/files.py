"""A video of any size, on the disk: a short real one, and behind it a box of noise that players skip."""

import io
import os
from pathlib import Path

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

MIB = 1024 * 1024
_BOX_HEAD_BYTES = 8


def make(path: Path, size: int) -> Path:
    """Write a video of exactly so many bytes, of which no two mebibytes are alike."""
    film = _film()
    rest = size - len(film)
    with path.open("wb") as file:
        file.write(film + rest.to_bytes(4, "big") + b"free")
        rest -= _BOX_HEAD_BYTES
        while rest:
            rest -= file.write(os.urandom(min(MIB, rest)))
    return path


def _film() -> bytes:
    into = io.BytesIO()
    with av.open(into, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(25):
            container.mux(stream.encode(VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode())
    return into.getvalue()
