"""Background work that lives and dies together."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, Final

_PATIENCE_SECONDS: Final = 5
_AGAIN_SECONDS: Final = 0.1

Work = Coroutine[Any, Any, None]


async def together(*work: Work) -> None:
    """
    Run endless work until one of it fails or the caller is cancelled; then end the rest.

    Raises:
        Exception: what the first raised.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)
    for task in done:
        task.result()


async def end(tasks: Collection["asyncio.Task[None]"]) -> None:
    """
    Cancel tasks, again and again until they have ended or patience is over.

    Once is not enough, and why `asyncio.TaskGroup` is not used: before Python 3.12 `asyncio.wait_for`, which the Redis
    client uses for every command, swallows a cancellation that comes just when it is done (python/cpython#86296).
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE_SECONDS
    for task in tasks:
        task.add_done_callback(_take_note)
    pending = {task for task in tasks if not task.done()}
    while pending and loop.time() < deadline:
        for task in pending:
            task.cancel()
        try:
            _, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)
        except asyncio.CancelledError:
            # The caller is ending already, and whoever cancelled it waits for it.
            continue


def _take_note(ended: "asyncio.Task[None]") -> None:
    # asyncio logs what nobody has asked for as an error.
    if not ended.cancelled():
        ended.exception()
