"""What may be posted to the bridge: events and control messages, read and checked."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import msgspec

from broadcast import parcel, revocations
from broadcast.contracts import bridge, events, topics
from broadcast.parcel import Parcel
from broadcast.revocations import Revocation

MAX_TYPE_CHARACTERS: Final = 100
MAX_OPERATION_ID_CHARACTERS: Final = 128
_MAX_SEQ: Final = 2**53 - 1

Encode = Callable[[dict[str, Any]], bytes]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Malformed(ValueError):
    """What was posted cannot be taken; the message says why, ``index`` which event it is."""

    def __init__(self, reason: str, *, index: int | None = None) -> None:
        super().__init__(reason)
        self.index = index


@dataclass(slots=True)
class Batch:
    """
    What one POST brings: its events in order, and its control messages.

    ``oldest_ms``: the earliest timestamp of its events that have a seq, None without any.
    """

    parcels: list[Parcel] = field(default_factory=list)
    withdrawn: list[Revocation] = field(default_factory=list)
    oldest_ms: int | None = None

    def __len__(self) -> int:
        return len(self.parcels) + len(self.withdrawn)

    @property
    def is_progress(self) -> bool:
        """True when nothing in it has to be remembered."""
        return self.oldest_ms is None and not self.withdrawn

    def add(self, taken: Parcel, timestamp: int) -> None:
        """Put an event at the end."""
        self.parcels.append(taken)
        if taken.seq is not None and (self.oldest_ms is None or timestamp < self.oldest_ms):
            self.oldest_ms = timestamp


def read(body: bytes) -> Batch:
    """
    Read a body.

    Raises:
        Malformed: anything in it is not as it should be.
    """
    content, encode = _decode_body(body)
    batch = Batch()
    for index, event in enumerate(_events_of(content)):
        try:
            if not isinstance(event, dict):
                _fail("an event is a JSON object")
            if revocations.is_control(event):
                batch.withdrawn.append(revocations.from_event(event))
            else:
                batch.add(_read_event(event, encode), event["timestamp"])
        except ValueError as problem:
            raise Malformed(str(problem), index=index) from problem
    return batch


def _decode_body(body: bytes) -> tuple[Any, Encode]:
    try:
        return _decode(body), _encode
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # A string or number that is out of range refuses one event, by its index, and not the whole body.
        return _decode_leniently(body), events.encode


def _decode_leniently(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_fail)
    except (ValueError, RecursionError) as problem:
        raise Malformed("the body is not JSON in UTF-8") from problem


def _events_of(content: Any) -> list[Any]:
    if not isinstance(content, dict):
        raise Malformed("the body is a JSON object")
    if "events" not in content:
        return [content]
    posted = content["events"]
    if not isinstance(posted, list):
        raise Malformed("events is a list")
    if len(posted) > bridge.MAX_EVENTS:
        raise Malformed(f"at most {bridge.MAX_EVENTS} events")
    return posted


def _read_event(event: dict[str, Any], encode: Encode) -> Parcel:
    topic = event.pop("topic", None)
    topics.parse(topic)
    _check(event)
    if topics.of_envelope(event) != topic:
        _fail("topic and courseId or userId disagree")
    try:
        body = encode(event)
    except UnicodeEncodeError:
        _fail("a string holds half a surrogate pair")
    except RecursionError:
        # What could just be read is not always written again.
        _fail("an event is nested less deeply")
    if len(body) > events.MAX_BYTES:
        _fail(f"an event is at most {events.MAX_BYTES} bytes")
    return parcel.labelled(event, topic=topic, body=body)


def _check(event: Mapping[str, Any]) -> None:
    if not _is_text(event.get("type"), MAX_TYPE_CHARACTERS):
        _fail("type is a string")
    if not isinstance(event.get("data"), dict):
        _fail("data is a JSON object")
    if not _is_integer(event.get("timestamp"), 0):
        _fail("timestamp is milliseconds since the epoch")
    if "seq" in event and not _is_integer(event["seq"], 1):
        _fail("seq is an integer from 1")
    operation_id = event.get("operationId")
    if operation_id is not None and not _is_text(operation_id, MAX_OPERATION_ID_CHARACTERS):
        _fail("operationId is a string")


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest


def _is_integer(value: object, lowest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= _MAX_SEQ


def _fail(reason: str) -> NoReturn:
    raise ValueError(reason)
