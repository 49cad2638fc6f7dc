"""Leases of uploads: who asks is heard in time, but not at once."""

import time
import uuid

import pytest

from apps.uploads import leases
from apps.uploads.leases import Lease

pytestmark = pytest.mark.pure


def _lease(age_seconds: float) -> tuple[Lease, list[str]]:
    interrupted: list[str] = []
    lease = Lease(uuid.uuid4(), uuid.uuid4(), interrupt=lambda: interrupted.append("now"))
    lease.taken_at = time.monotonic() - age_seconds
    return lease, interrupted


def test_a_holder_has_its_second_before_it_lets_go() -> None:
    lease, interrupted = _lease(0)
    lease.ask()
    assert not lease.wanted.is_set() and not interrupted


def test_after_that_it_is_interrupted_once() -> None:
    lease, interrupted = _lease(leases.LEAST_SECONDS)
    lease.ask()
    lease.ask()
    assert lease.wanted.is_set() and interrupted == ["now"]


def test_one_that_is_lost_is_lost_at_once() -> None:
    lease, interrupted = _lease(0)
    lease.let_go()
    assert lease.wanted.is_set() and interrupted == ["now"]
