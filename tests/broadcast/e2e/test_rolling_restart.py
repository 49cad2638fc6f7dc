"""A new version without a pause: two processes behind nginx are replaced one after the other, with clients on both."""

import asyncio
import http.client
import os
import signal
import uuid
from collections import Counter
from contextlib import suppress

import pytest

from broadcast.contracts import topics
from tests.broadcast.e2e.conftest import Start
from tests.support.broadcast_process import Broadcast, event, ticket
from tests.support.crowd import Crowd, Member
from tests.support.nginx import needs_nginx, nginx

pytestmark = [pytest.mark.e2e, needs_nginx, pytest.mark.timeout(240)]

CLIENTS, COURSES = int(os.environ.get("ROLLING_RESTART_CLIENTS", "500")), 50
SPREAD_SECONDS = 5
SETTINGS = {
    "LOG_LEVEL": "WARNING",
    "BROADCAST_HEARTBEAT_SECONDS": 25,
    "BROADCAST_RECONNECT_SPREAD_SECONDS": SPREAD_SECONDS,
    "BROADCAST_DRAIN_LINGER_SECONDS": 3,
}
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


class Outbox:
    """Posts the next event of every course again and again, to whichever process takes it, as the outbox does."""

    def __init__(self, processes: list[Broadcast]) -> None:
        self.courses = [topics.course(uuid.uuid4()) for _ in range(COURSES)]
        self.seq = 0
        self._processes = processes

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            self.seq += 1
            await self._post([event(course, self.seq) for course in self.courses])
            await asyncio.sleep(0.5)

    async def _post(self, batch: list[dict]) -> None:
        while True:
            for process in self._processes:
                with suppress(OSError, http.client.HTTPException):
                    status, _ = await asyncio.to_thread(process.post, *batch)
                    if status == 202:
                        return


async def replace(process: Broadcast) -> None:
    """Have a process leave, as its supervisor does, and start it anew."""
    process.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait_for, 503)
    assert (await asyncio.to_thread(process.request, "GET", "/ws/", headers=UPGRADE))[0] == 503
    assert await asyncio.to_thread(process.process.wait, 30) == 0
    await asyncio.to_thread(process.start)


async def test_when_both_processes_are_replaced_everybody_comes_back_and_hears_everything(start: Start):
    processes = [start(**SETTINGS), start(**SETTINGS)]
    outbox = Outbox(processes)
    with nginx([process.port for process in processes]) as port:
        crowd = Crowd(port)
        try:
            crowd.join(
                [(ticket(str(uuid.uuid4()), [course]), course) for course in outbox.courses * (CLIENTS // COURSES)]
            )
            await crowd.until_all(lambda member: member.listening, seconds=60)
            shares = [process.metric("coursehub_connections") for process in processes]
            posting = asyncio.create_task(outbox.run())
            for process in processes:
                await replace(process)
                await crowd.until_all(lambda member: member.listening, seconds=60)
            posting.cancel()
            with suppress(asyncio.CancelledError):
                await posting
            await crowd.until_all(lambda member: member.position >= outbox.seq - 1, seconds=60)
        finally:
            crowd.disperse()
    assert sum(shares) == CLIENTS
    assert min(shares) > CLIENTS / 3
    assert [member.breaches for member in crowd.members if member.breaches] == []
    assert all(member.codes for member in crowd.members)
    assert set(Counter(code for member in crowd.members for code in member.codes)) == {4201}
    assert spread_of(crowd.members) == set(range(10))


def spread_of(members: list[Member]) -> set[int]:
    """Tell in which tenths of the window clients were told to come back."""
    waits = [wait - 500 for member in members for wait in member.retries_after_ms]
    assert 0 <= min(waits) <= max(waits) <= SPREAD_SECONDS * 1000
    return {min(wait * 10 // (SPREAD_SECONDS * 1000), 9) for wait in waits}
