"""One check: an operation on its way from here to a WebSocket, and where it stopped if it did."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NoReturn

from django.conf import settings
from django.db import Error

from apps.accounts import tickets
from apps.accounts.models import User
from apps.core import sql
from apps.operations import hints
from apps.operations.checking import lane
from apps.operations.checking.listener import Listener, SocketListener, Unreachable
from apps.outbox import bridge

_LOOK_EVERY_SECONDS: Final = 0.005


class Station(StrEnum):
    """Where an operation passes, in order."""

    CONNECT = "connect"
    """A ticket, a WebSocket and a subscription, before anything is asked for."""
    REQUEST = "request"
    """The step is stored, the hint sent."""
    QUEUE = "queue"
    """Until a worker, or the relay, takes the step."""
    WORKER = "worker"
    """Until its transaction is committed."""
    BRIDGE = "bridge"
    """Until the broadcast service has its event."""
    SOCKET = "socket"
    """Until the client has it."""


@dataclass(slots=True)
class Report:
    """
    What became of a check: how many milliseconds it spent at each station that it passed.

    ``stopped_at`` None: it arrived. ``problem`` says why it stopped, ``warnings`` what it arrived in spite of.
    """

    milliseconds: dict[Station, float] = field(default_factory=dict)
    stopped_at: Station | None = None
    problem: str = ""
    warnings: list[str] = field(default_factory=list)


class _Stopped(Exception):
    """The operation got no further."""

    def __init__(self, station: Station, problem: str) -> None:
        self.station = station
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far an operation is, as the database tells."""

    status: str
    began_at: float | None
    ran_by: str
    has_ended: bool
    is_delivered: bool


Connect = Callable[[str, str, float], Listener]
"""Opens a WebSocket: its URL, a ticket, the seconds that it may take. Raises `Unreachable`."""


def check(*, timeout_seconds: float, url: str | None = None, connect: Connect = SocketListener) -> Report:
    """
    Send one operation through everything and follow it.

    ``url``: the WebSocket to listen at; None: what tickets tell clients. Afterwards only its user is left, and the
    events that could not be delivered yet.
    """
    report = Report()
    try:
        _Journey(report, timeout_seconds, url, connect).run()
    except _Stopped as stopped:
        report.stopped_at, report.problem = stopped.station, str(stopped)
    except Error as error:
        report.stopped_at = next(station for station in Station if station not in report.milliseconds)
        report.problem = f"The database is away: {error}".strip()
    return report


class _Journey:
    def __init__(self, report: Report, timeout_seconds: float, url: str | None, connect: Connect) -> None:
        self._report, self._url, self._connect = report, url, connect
        self._timeout_seconds = timeout_seconds
        self._deadline = time.monotonic() + timeout_seconds
        self._reached_at = time.time()

    def run(self) -> None:
        user = lane.user()
        listener = self._listen(user)
        self._reach(Station.CONNECT)
        key = ""
        try:
            key = lane.begin(user)
            self._reach(Station.REQUEST)
            self._follow(key, listener)
        finally:
            listener.close()
            lane.forget(user, key)

    def _listen(self, user: User) -> Listener:
        ticket = tickets.issue(user, course_ids=[])
        try:
            return self._connect(self._url or ticket["url"], ticket["ticket"], self._left())
        except Unreachable as problem:
            raise _Stopped(Station.CONNECT, str(problem)) from problem

    def _follow(self, key: str, listener: Listener) -> None:
        ended = self._wait_until(key, lambda progress: progress.has_ended)
        self._check_ended(ended)
        self._reach(Station.QUEUE, ended.began_at)
        self._reach(Station.WORKER)
        delivered = self._wait_until(key, lambda progress: progress.is_delivered)
        heard_at = listener.wait_for_end_of(key, self._left() if delivered.is_delivered else 0)
        if heard_at is None:
            self._not_heard(delivered, listener)
        # Who heard it early has proved that the bridge was passed before that.
        self._reach(Station.BRIDGE, min(time.time(), heard_at))
        self._reach(Station.SOCKET, heard_at)

    def _check_ended(self, progress: _Progress) -> None:
        if not progress.has_ended:
            problem = f"Neither a worker nor the relay ran the step within {self._timeout_seconds:g} s. {_broker()}"
            raise _Stopped(Station.QUEUE, problem)
        if progress.status != "succeeded":
            raise _Stopped(Station.WORKER, f"The step failed ({progress.status}); the worker's log has the reason.")
        if progress.ran_by != lane.WORKER:
            self._report.warnings.append(f"No worker took the step; the relay ran it. {_broker()}")

    def _not_heard(self, progress: _Progress, listener: Listener) -> NoReturn:
        if not progress.is_delivered:
            problem = f"The event was not delivered within {self._timeout_seconds:g} s. {_bridge()}"
            raise _Stopped(Station.BRIDGE, problem)
        self._reach(Station.BRIDGE)
        missing = f"The broadcast service has the event, and the client did not get it. {listener.problem}"
        raise _Stopped(Station.SOCKET, missing.strip())

    def _wait_until(self, key: str, is_so: Callable[[_Progress], bool]) -> _Progress:
        # Asked again and again, because a check must not rely on what it checks: the bell for `?wait=` is Redis.
        while not is_so(progress := _progress(key)) and self._left() > 0:
            time.sleep(_LOOK_EVERY_SECONDS)
        return progress

    def _reach(self, station: Station, at: float | None = None) -> None:
        at = time.time() if at is None else at
        # Another machine's clock may be a little behind.
        self._report.milliseconds[station] = round(max(at - self._reached_at, 0) * 1000, 1)
        self._reached_at = max(at, self._reached_at)

    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), 0)


def _progress(key: str) -> _Progress:
    ((status, data, has_ended, is_delivered),) = sql.rows(_PROGRESS, [key])
    data = json.loads(data or "{}")
    began_at = datetime.fromisoformat(data["beganAt"]).timestamp() if "beganAt" in data else None
    return _Progress(status, began_at, data.get("ranBy", ""), has_ended, is_delivered)


def _broker() -> str:
    try:
        hints.broker_answers()
    except Exception as problem:
        return f"The broker is away ({type(problem).__name__})."
    return "The broker answers: look whether workers run, and at their logs."


def _bridge() -> str:
    try:
        bridge.answers()
    except Exception as problem:
        return f"{settings.BROADCAST_URL} is away or not ready ({type(problem).__name__})."
    return f"{settings.BROADCAST_URL} is ready: the logs of worker and relay say why it refuses (BROADCAST_SECRET?)."


_PROGRESS = """
    SELECT operation.status, step.data::text, operation.finished_at IS NOT NULL,
        coalesce(operation.seq <= cursor.delivered_seq, false)
    FROM operations_operation operation JOIN operations_step step ON step.operation_id = operation.id
    LEFT JOIN outbox_deliverycursor cursor ON cursor.topic = operation.topic
    WHERE operation.key = %s AND operation.kind = 'delivery-check'
"""
