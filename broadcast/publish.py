"""The bridge: ``POST /broadcast``, where the API and its workers hand over events."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from broadcast import parcel, revocations
from broadcast.contracts import bridge, events, topics
from broadcast.history import Gaps, Unavailable
from broadcast.parcel import Parcel
from broadcast.revocations import Revocation
from broadcast.service import Service

log = logging.getLogger(__name__)

MAX_TYPE_CHARACTERS: Final = 100
MAX_OPERATION_ID_CHARACTERS: Final = 128
_MAX_SEQ: Final = 2**53 - 1
_MAX_LOGGED_OPERATIONS: Final = 20
_RETRY_AFTER_SECONDS: Final = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON body."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] | None = None


class Malformed(ValueError):
    """What was posted cannot be taken; the message says why, ``index`` which event it is."""

    def __init__(self, reason: str, *, index: int | None = None) -> None:
        super().__init__(reason)
        self.index = index


def refuse(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
    """Make an answer in the one error form."""
    return Answer(status, {"success": False, "error": {"code": code, "message": message, **more}}, headers)


def unavailable(message: str) -> Answer:
    """Ask to come back later."""
    return refuse(503, "unavailable", message, headers={"Retry-After": str(_RETRY_AFTER_SECONDS)})


async def post(service: Service, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Take a POST; ``headers`` by their names in lower case."""
    started = time.perf_counter()
    answer = await _post(service, body, headers)
    elapsed = time.perf_counter() - started
    service.metrics.bridge.labels(str(answer.status)).inc()
    service.metrics.ingest_seconds.observe(elapsed)
    return answer


async def _post(service: Service, body: bytes, headers: Mapping[str, str]) -> Answer:
    try:
        _verify(service, body, headers)
        parcels, withdrawn = read(body)
        duplicates = await service.take(parcels, withdrawn)
    except bridge.InvalidSignature:
        return refuse(401, "not_authenticated", "The signature is not valid for this body and this time.")
    except Malformed as problem:
        index: dict[str, Any] = {} if problem.index is None else {"index": problem.index}
        return refuse(400, "validation_error", str(problem), **index)
    except Gaps as problem:
        return _answer_gaps(problem)
    except Unavailable:
        return unavailable("The history is away.")
    taken = len(parcels) + len(withdrawn)
    service.metrics.ingested.inc(taken - duplicates)
    _log_taken(parcels, duplicates)
    return Answer(202, {"accepted": taken - duplicates, "duplicates": duplicates})


def read(body: bytes) -> tuple[list[Parcel], list[Revocation]]:
    """
    Read a body: its events in order, and its control messages.

    Raises:
        Malformed: anything in it is not as it should be.
    """
    posted = _read_events(body)
    parcels: list[Parcel] = []
    withdrawn: list[Revocation] = []
    for index, event in enumerate(posted):
        try:
            if not isinstance(event, dict):
                _fail("an event is a JSON object")
            if revocations.is_control(event):
                withdrawn.append(revocations.from_event(event))
            else:
                parcels.append(_read_event(event))
        except ValueError as problem:
            raise Malformed(str(problem), index=index) from problem
    return parcels, withdrawn


def _verify(service: Service, body: bytes, headers: Mapping[str, str]) -> None:
    bridge.verify(
        body,
        secret=service.settings.broadcast_secret,
        timestamp=headers.get(bridge.TIMESTAMP_HEADER.lower(), ""),
        signature=headers.get(bridge.SIGNATURE_HEADER.lower(), ""),
        now=service.now_ms() / 1000,
    )


def _read_events(body: bytes) -> Sequence[Any]:
    try:
        posted = json.loads(body.decode(), parse_constant=_fail)
    except (ValueError, RecursionError) as problem:
        raise Malformed("the body is not JSON in UTF-8") from problem
    if not isinstance(posted, dict):
        raise Malformed("the body is a JSON object")
    if "events" not in posted:
        return [posted]
    if not isinstance(posted["events"], list):
        raise Malformed("events is a list")
    if len(posted["events"]) > bridge.MAX_EVENTS:
        raise Malformed(f"at most {bridge.MAX_EVENTS} events")
    return posted["events"]


def _read_event(event: dict[str, Any]) -> Parcel:
    topic = event.pop("topic", None)
    topics.parse(topic)
    _check(event)
    if topics.of_envelope(event) != topic:
        _fail("topic and courseId or userId disagree")
    try:
        taken = parcel.from_event(event, topic=topic)
    except UnicodeEncodeError:
        _fail("a string holds half a surrogate pair")
    if len(taken.body) > events.MAX_BYTES:
        _fail(f"an event is at most {events.MAX_BYTES} bytes")
    return taken


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


def _answer_gaps(problem: Gaps) -> Answer:
    gaps = [{"topic": gap.topic, "expected": gap.expected} for gap in problem.gaps]
    answer = refuse(409, "conflict", "Events are missing before these; nothing was taken.")
    return Answer(409, {"gaps": gaps, **answer.body})


def _log_taken(parcels: Sequence[Parcel], duplicates: int) -> None:
    if log.isEnabledFor(logging.INFO):
        operations = list(dict.fromkeys(p.operation_id for p in parcels if p.operation_id))
        extra: dict[str, Any] = {"events": len(parcels), "duplicates": duplicates}
        if len(operations) == 1:
            extra["operationId"] = operations[0]
        elif operations:
            extra["operationIds"] = operations[:_MAX_LOGGED_OPERATIONS]
        log.info("Taken", extra=extra)
