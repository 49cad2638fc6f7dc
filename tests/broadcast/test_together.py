"""Background work that lives and dies together."""

import asyncio
import gc

import pytest

from broadcast.together import end, together


class Stubborn:
    """Work that swallows its first cancellation, as `asyncio.wait_for` may."""

    def __init__(self) -> None:
        self.cancellations = 0

    async def run(self) -> None:
        """Go on after the first cancellation."""
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancellations += 1
                if self.cancellations > 1:
                    raise


async def fail() -> None:
    """Fail after a moment."""
    await asyncio.sleep(0.01)
    raise RuntimeError("failed")


async def test_the_failure_of_one_ends_the_others_and_is_raised():
    stubborn = Stubborn()
    with pytest.raises(RuntimeError, match="failed"):
        await together(stubborn.run(), fail())
    assert stubborn.cancellations == 2


async def test_a_cancellation_ends_all_even_if_it_comes_twice():
    stubborn = Stubborn()
    whole = asyncio.create_task(together(stubborn.run()))
    await asyncio.sleep(0.01)
    whole.cancel()
    await asyncio.sleep(0.01)
    whole.cancel()
    with pytest.raises(asyncio.CancelledError):
        await whole
    assert stubborn.cancellations == 2


async def test_what_has_ended_needs_no_end():
    done = asyncio.create_task(asyncio.sleep(0))
    await done
    await end([done])
    assert not done.cancelled()


async def test_what_several_raise_at_once_is_not_left_for_the_log(caplog):
    failing = [asyncio.create_task(fail()) for _ in range(3)]
    await asyncio.sleep(0.05)
    with pytest.raises(RuntimeError, match="failed"):
        await together(fail(), fail())
    await end(failing)
    del failing
    gc.collect()
    assert not caplog.records
