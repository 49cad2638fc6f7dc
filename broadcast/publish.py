"""The bridge: ``POST /broadcast``, where the API and its workers hand over events."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

from broadcast import batches
from broadcast.batches import Batch, Malformed
from broadcast.contracts import bridge
from broadcast.history import Gaps, Unavailable
from broadcast.parcel import Parcel
from broadcast.service import Service

log = logging.getLogger(__name__)

_MAX_LOGGED_OPERATIONS: Final = 20
_RETRY_AFTER_SECONDS: Final = 1


@dataclass(frozen=True, eq=False)
class Answer:
    """A status and a JSON body. Each is itself only, so that what is made of it can be kept."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] | None = None

    @cached_property
    def encoded(self) -> bytes:
        """The body as it is sent."""
        return json.dumps(self.body).encode()


def refuse(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
    """Make an answer in the one error form."""
    return Answer(status, {"success": False, "error": {"code": code, "message": message, **more}}, headers)


def unavailable(message: str) -> Answer:
    """Ask to come back later."""
    return refuse(503, "unavailable", message, headers={"Retry-After": str(_RETRY_AFTER_SECONDS)})


def post(service: Service, body: bytes, *, timestamp: str, signature: str) -> Answer | Awaitable[Answer]:
    """
    Take a POST; the last two are its headers, empty where it has none.

    Progress is answered at once, what has to be remembered when it is in the history.
    """
    started = time.perf_counter()
    try:
        now_seconds = service.now_ms() / 1000
        secret = service.settings.broadcast_secret
        bridge.verify(body, secret=secret, timestamp=timestamp, signature=signature, now=now_seconds)
        batch = batches.read(body)
    except bridge.InvalidSignature:
        answer = refuse(401, "not_authenticated", "The signature is not valid for this body and this time.")
        return _counted(service, answer, started)
    except Malformed as problem:
        return _counted(service, _answer_malformed(problem), started)
    if not batch.is_progress:
        return _take(service, batch, started)
    service.pass_on(batch.parcels)
    return _counted(service, _accepted(len(batch), 0), started, taken=len(batch))


async def _take(service: Service, batch: Batch, started: float) -> Answer:
    try:
        duplicates = await service.take(batch.parcels, batch.withdrawn, oldest_ms=batch.oldest_ms)
    except Gaps as problem:
        return _counted(service, _answer_gaps(problem), started)
    except Unavailable:
        return _counted(service, unavailable("The history is away."), started)
    # Not at once: the events are written to their clients at the end of this turn of the loop.
    asyncio.get_running_loop().call_soon(_log_taken, batch.parcels, duplicates)
    taken = len(batch) - duplicates
    return _counted(service, _accepted(taken, duplicates), started, taken=taken)


def _counted(service: Service, answer: Answer, started: float, *, taken: int = 0) -> Answer:
    service.metrics.posts.count(answer.status, taken, time.perf_counter() - started)
    return answer


@lru_cache(maxsize=1024)
def _accepted(accepted: int, duplicates: int) -> Answer:
    return Answer(202, {"accepted": accepted, "duplicates": duplicates})


def _answer_malformed(problem: Malformed) -> Answer:
    index: dict[str, Any] = {} if problem.index is None else {"index": problem.index}
    return refuse(400, "validation_error", str(problem), **index)


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
