"""
Event streams: the frames and events of the WebSocket as Server-Sent Events, for networks that let no WebSocket through.

One message has one frame or event as its ``data``. Its ``id``, if it has one, is where the client stands in each of
its topics then, so that what a browser sends back as ``Last-Event-ID`` resumes all of them.
"""

from collections.abc import Iterable
from typing import Final

from broadcast.contracts import events, topics
from broadcast.contracts.frames import MAX_SEQ, Frame

PATH: Final = "/events"
CONTENT_TYPE: Final = "text/event-stream"
LAST_EVENT_ID: Final = "Last-Event-ID"
_DIGITS: Final = len(str(MAX_SEQ))


class InvalidPositions(ValueError):
    """Positions are <topic>=<seq>, separated by commas, each topic once."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def read_positions(text: str) -> dict[str, int]:
    """
    Read positions as they stand in an ``id``; nothing gives none.

    Raises:
        InvalidPositions: it is something else.
    """
    positions: dict[str, int] = {}
    for part in text.split(",") if text else ():
        topic, seq = _read_position(part)
        if topic in positions:
            raise InvalidPositions
        positions[topic] = seq
    return positions


def ending(body: bytes, *, topic: str, seq: int | None) -> bytes:
    """
    Make the part of an event's message that is the same for all clients.

    ``id: `` and the positions of a client's other topics go before it (`beginning`); nothing before progress, which has
    no ``seq`` and moves nobody.
    """
    return b"data: %s\n\n" % body if seq is None else b"%s=%d\ndata: %s\n\n" % (topic.encode(), seq, body)


def beginning(others: Iterable[bytes]) -> bytes:
    """Make what comes before an event's `ending`: the positions of the client's other topics, each encoded."""
    return b"id: " + b"".join([position + b"," for position in others])


def position(topic: str, seq: int) -> bytes:
    """Encode one position."""
    return b"%s=%d" % (topic.encode(), seq)


def message(frame: Frame, *, positions: Iterable[bytes] | None = None, retry_ms: int | None = None) -> bytes:
    """
    Make a message of a frame.

    ``positions``: encoded, if the client stands elsewhere after it. ``retry_ms``: how long it waits from now on before
    it connects again.
    """
    lines = [] if retry_ms is None else [b"retry: %d\n" % retry_ms]
    if positions is not None:
        lines.append(b"id: %s\n" % b",".join(positions))
    return b"%sdata: %s\n\n" % (b"".join(lines), events.encode(frame))


def _read_position(text: str) -> tuple[str, int]:
    topic, _, seq = text.partition("=")
    try:
        topics.parse(topic)
    except topics.InvalidTopic as problem:
        raise InvalidPositions from problem
    if not (seq.isascii() and seq.isdigit() and len(seq) <= _DIGITS and int(seq) <= MAX_SEQ):
        raise InvalidPositions
    return topic, int(seq)
