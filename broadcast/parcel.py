"""Parcels: events on their way through the service, encoded once, with what the service must know on the outside."""

import json
import struct
from collections.abc import Mapping
from typing import Any, Final

from broadcast.contracts import events, streams

_SUBJECTS: Final = ("videoId", "mediaId", "uploadId")
_PROGRESS: Final = "-progress"
_COMPLETE: Final = "-complete"

Packed = list[Any]
"""A parcel as the channel layer carries it: plain values that msgpack knows."""


class Parcel:
    """
    An encoded event.

    ``seq`` None: progress, which has no place in its topic's order. ``subject``: the id of the video, media file or
    upload that it is about, if any. ``body``: what clients receive.
    """

    __slots__ = ("_ending", "_wire", "body", "operation_id", "seq", "subject", "topic", "type")

    def __init__(
        self, *, topic: str, seq: int | None, type_: str, operation_id: str | None, subject: str | None, body: bytes
    ) -> None:
        self.topic = topic
        self.seq = seq
        self.type = type_
        self.operation_id = operation_id
        self.subject = subject
        self.body = body
        self._wire: bytes | None = None
        self._ending: bytes | None = None

    @property
    def wire(self) -> bytes:
        """The body as one WebSocket frame, made once however many clients receive it."""
        if self._wire is None:
            self._wire = text_frame(self.body)
        return self._wire

    @property
    def ending(self) -> bytes:
        """What all event streams have in common of their message of it, made once however many there are."""
        if self._ending is None:
            self._ending = streams.ending(self.body, topic=self.topic, seq=self.seq)
        return self._ending

    @property
    def progress_key(self) -> tuple[str, str, str | None, str | None]:
        """Of progress with the same key only the newest matters."""
        return self.topic, self.type, self.operation_id, self.subject

    def pack(self) -> Packed:
        """Prepare for the channel layer; the topic travels beside it."""
        return [self.seq, self.type, self.operation_id, self.subject, self.body]


def from_event(event: Mapping[str, Any], *, topic: str) -> Parcel:
    """Encode an event that was checked."""
    return labelled(event, topic=topic, body=events.encode(event))


def from_body(body: bytes, *, topic: str) -> Parcel:
    """Label an encoded event that comes from the history."""
    return labelled(json.loads(body), topic=topic, body=body)


def unpack(packed: Packed, *, topic: str) -> Parcel:
    """Undo `Parcel.pack`."""
    seq, type_, operation_id, subject, body = packed
    return Parcel(topic=topic, seq=seq, type_=type_, operation_id=operation_id, subject=subject, body=body)


def is_durable(packed: Packed) -> bool:
    """Tell a packed parcel that has a seq from progress."""
    return packed[0] is not None


def text_frame(payload: bytes) -> bytes:
    """Wrap a payload into one unmasked, final text frame (RFC 6455, section 5.2)."""
    return _frame(0x81, payload)


def binary_frame(payload: bytes) -> bytes:
    """Wrap a payload into one unmasked, final binary frame."""
    return _frame(0x82, payload)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def labelled(event: Mapping[str, Any], *, topic: str, body: bytes) -> Parcel:
    """Label an encoded event, of which this is the content."""
    data = event["data"]
    return Parcel(
        topic=topic,
        seq=event.get("seq"),
        type_=event["type"],
        operation_id=event.get("operationId"),
        subject=_subject_of(data),
        body=body,
    )


def _subject_of(data: Mapping[str, Any]) -> str | None:
    for key in _SUBJECTS:
        if key in data and isinstance(data[key], str):
            return str(data[key])
    return None


class Endings:
    """
    Remembers what has ended lately, so that progress never comes after the completion it led to.

    ``x-complete`` ends ``x-progress`` of the same operation and subject; ``operation-failed`` ends all progress of
    its operation and subject; ``batch-operation-complete`` ends all of its operation.
    """

    def __init__(self, *, capacity: int = 8192) -> None:
        self._capacity = capacity
        self._ended: dict[tuple[str, str, str | None, str | None], None] = {}

    def note(self, parcel: Parcel) -> None:
        """Remember what a durable event ended, if anything."""
        key = self._ending(parcel)
        if key is None:
            return
        self._ended.pop(key, None)
        self._ended[key] = None
        if len(self._ended) > self._capacity:
            del self._ended[next(iter(self._ended))]

    def covers(self, progress: Parcel) -> bool:
        """Tell whether what this progress led to has already been told."""
        if not self._ended or progress.operation_id is None:
            return False
        topic, operation_id = progress.topic, progress.operation_id
        return (
            (topic, operation_id, progress.type, progress.subject) in self._ended
            or (topic, operation_id, None, progress.subject) in self._ended
            or (topic, operation_id, None, None) in self._ended
        )

    @staticmethod
    def _ending(parcel: Parcel) -> tuple[str, str, str | None, str | None] | None:
        if parcel.operation_id is None:
            return None
        if parcel.type == events.BATCH_COMPLETED:
            return parcel.topic, parcel.operation_id, None, None
        if parcel.type == events.OPERATION_FAILED:
            # Without a subject it is about one step only; others of its operation may still be running.
            return None if parcel.subject is None else (parcel.topic, parcel.operation_id, None, parcel.subject)
        if parcel.type.endswith(_COMPLETE):
            stem = parcel.type.removesuffix(_COMPLETE)
            return parcel.topic, parcel.operation_id, stem + _PROGRESS, parcel.subject
        return None
