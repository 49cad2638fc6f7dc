"""
Leases: who may move an upload's bytes, or complete it, right now.

Taking one raises the upload's ``attempt``; whatever is written under it is written only while the row still has its
token, so that one who lost it without noticing changes nothing. Whoever wants it *asks* the holder to let go, and
waits a little. One thread in each process renews the leases that the process holds, and hears who asks. A holder has
a second before it lets go, so that clients who ask each other again and again get somewhere all the same.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from django import db

from apps.core import clock, outages, sql
from apps.operations import open_steps
from apps.uploads import figures
from apps.uploads.models import Upload

log = logging.getLogger(__name__)

LASTS = timedelta(seconds=10)
RENEWED_EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 5.0
LEAST_SECONDS = 1.0
"""Whoever asks earlier waits; a lease that was lost is lost at once."""
_LOOKS_AGAIN_SECONDS = 0.05
_COARSE_EVERY_SECONDS = 5.0


@dataclass(slots=True, eq=False)
class Lease:
    """
    A lease that is held. ``wanted`` is set when its holder is to let go: someone asked, or it was lost.

    ``interrupt`` is called then, by another thread, and must not wait. ``reported`` is how far the holder told others
    it is, of ``total``.
    """

    upload_id: UUID
    token: UUID
    attempt: int = 0
    step_id: int | None = None
    interrupt: Callable[[], object] = lambda: None
    wanted: threading.Event = field(default_factory=threading.Event)
    reported: int = 0
    total: int = 0
    taken_at: float = field(default_factory=time.monotonic)

    def ask(self) -> None:
        """Tell the holder to stop, if it has had its time; whoever asks goes on asking."""
        if time.monotonic() - self.taken_at >= LEAST_SECONDS:
            self.let_go()

    def let_go(self) -> None:
        """Tell the holder to stop."""
        if not self.wanted.is_set():
            self.wanted.set()
            self.interrupt()


@contextmanager
def held(
    upload_id: UUID,
    statuses: Collection[str],
    *,
    interrupt: Callable[[], object] = lambda: None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Iterator[Lease | None]:
    """
    Hold an upload's lease for a block; None: its holder did not let go in time, or its status is another.

    Asks whoever holds it to let go, unless there is no patience to wait for that.
    """
    lease = _take(upload_id, statuses, interrupt, patience_seconds)
    if lease is None:
        yield None
        return
    try:
        with _keeper().keeping(lease):
            yield lease
    finally:
        sql.execute(_RELEASE, [lease.reported, upload_id, lease.token])


def _take(
    upload_id: UUID, statuses: Collection[str], interrupt: Callable[[], object], patience_seconds: float
) -> Lease | None:
    deadline = time.monotonic() + patience_seconds
    token = uuid4()
    while True:
        now = clock.now()
        taken = sql.rows(_TAKE, [token, now + LASTS, upload_id, list(statuses), now])
        if taken:
            attempt, step_id, reported, total = taken[0]
            return Lease(upload_id, token, attempt, step_id, interrupt, reported=reported, total=total or 0)
        if time.monotonic() >= deadline or not _ask(upload_id, statuses):
            return None
        time.sleep(_LOOKS_AGAIN_SECONDS)


def _ask(upload_id: UUID, statuses: Collection[str]) -> bool:
    """Ask the holder to let go; False: the upload is not what it was."""
    _keeper().ask(upload_id)
    asked = Upload.objects.filter(pk=upload_id, status__in=statuses).update(asked_at=clock.now())
    return bool(asked)


_TAKE = """
    UPDATE uploads_upload
    SET attempt = attempt + 1, lease_token = %s, lease_expires_at = %s, asked_at = NULL
    WHERE id = %s AND status = ANY(%b) AND (lease_token IS NULL OR lease_expires_at < %s)
    RETURNING attempt, step_id, reported, declared_size
"""
_RELEASE = """
    UPDATE uploads_upload
    SET lease_token = NULL, lease_expires_at = NULL, asked_at = NULL, reported = greatest(reported, %s)
    WHERE id = %s AND lease_token = %s
"""
_RENEW = """
    UPDATE uploads_upload upload
    SET lease_expires_at = %s, reported = greatest(upload.reported, held.reported)
    FROM unnest(%b::uuid[], %b::uuid[], %b::bigint[]) AS held(id, token, reported)
    WHERE upload.id = held.id AND upload.lease_token = held.token
    RETURNING upload.id, upload.asked_at IS NOT NULL
"""


class Keeper:
    """Keeps the leases of one process alive, by a thread that runs while there are any."""

    def __init__(self) -> None:
        self._leases: dict[UUID, Lease] = {}
        self._lock = threading.Lock()
        self._is_running = False
        self._coarse_at = 0.0

    @contextmanager
    def keeping(self, lease: Lease) -> Iterator[None]:
        """Renew a lease during a block."""
        with self._lock:
            self._leases[lease.upload_id] = lease
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="upload-leases", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                if self._leases.get(lease.upload_id) is lease:
                    del self._leases[lease.upload_id]

    def ask(self, upload_id: UUID) -> None:
        """Have a holder in this process let go at once, without the way through the database."""
        with self._lock:
            lease = self._leases.get(upload_id)
            if lease:
                lease.ask()

    def _run(self) -> None:
        try:
            while leases := self._all_or_stop():
                try:
                    self.renew(leases)
                except Exception as error:
                    # They expire unless this works again; what is written without them is refused.
                    outages.report(log, "Leases could not be renewed.", error)
                    db.connection.close()
                time.sleep(RENEWED_EVERY_SECONDS)
        finally:
            db.connection.close()

    def _all_or_stop(self) -> list[Lease]:
        with self._lock:
            self._is_running = bool(self._leases)
            return list(self._leases.values())

    def renew(self, leases: Collection[Lease]) -> None:
        """Renew leases; those that are lost or asked for are told so."""
        columns = sql.columns([(lease.upload_id, lease.token, lease.reported) for lease in leases])
        asked = dict(sql.rows(_RENEW, [clock.now() + LASTS, *columns]))
        with self._lock:
            # Not those that were given back meanwhile: their connections have gone on to other requests.
            for lease in [lease for lease in leases if self._leases.get(lease.upload_id) is lease]:
                if lease.upload_id not in asked:
                    lease.let_go()
                elif asked[lease.upload_id]:
                    lease.ask()
        if time.monotonic() - self._coarse_at >= _COARSE_EVERY_SECONDS:
            self._coarse_at = time.monotonic()
            _note_progress(leases)


def _note_progress(leases: Collection[Lease]) -> None:
    for lease in leases:
        if lease.step_id and lease.total:
            open_steps.note_progress(lease.step_id, figures.step_percent(lease.reported, lease.total))


_kept: Keeper | None = None
_owner = 0
_starting = threading.Lock()


def _keeper() -> Keeper:
    global _kept, _owner
    if _kept is None or _owner != os.getpid():
        with _starting:
            if _kept is None or _owner != os.getpid():
                _kept, _owner = Keeper(), os.getpid()
    return _kept
