"""Films for the demonstration, made on the spot: nobody's work, and as large as a good camera's."""

import io
import random
from fractions import Fraction

import av

WIDTH, HEIGHT, RATE = 640, 360, 25
_BIT_RATE = 24_000_000
_GRAIN_BYTES = 1 << 20


def make(seconds: int) -> bytes:
    """Make an MP4 of nothing but grain, of about 3 MB a second."""
    into, grain = io.BytesIO(), random.Random(0).randbytes(_GRAIN_BYTES)  # noqa: S311 - only to look at
    with av.open(into, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", _BIT_RATE
        for number in range(seconds * RATE):
            container.mux(stream.encode(_frame(number, grain)))
        container.mux(stream.encode())
    return into.getvalue()


def _frame(number: int, grain: bytes) -> av.VideoFrame:
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for plane in frame.planes:
        at = (number * 7919) % (len(grain) - plane.buffer_size)
        plane.update(grain[at : at + plane.buffer_size])
    frame.pts, frame.time_base = number, Fraction(1, RATE)
    return frame
