"""Connections to Redis that carry many commands at once, on a real Valkey, and on servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broadcast.link import Link
from tests.support.broadcast_valkey import Valkey

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NO_HELLO = {"lib_name": None, "lib_version": None}


def link_to(url: str, *, timeout: float = 2, **more: object) -> Link:
    """Make a link."""
    pool = ConnectionPool.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, **more)
    return Link(pool, timeout_seconds=timeout)


@pytest.fixture
async def link(empty_valkey: Valkey) -> AsyncIterator[Link]:
    """A link to an empty Valkey."""
    made = link_to(empty_valkey.url)
    yield made
    made.close()


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """Something that is no Redis; gives its URL."""
    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running:
        yield f"redis://127.0.0.1:{running.sockets[0].getsockname()[1]}"


async def test_replies_come_in_the_order_of_the_commands(link: Link):
    replies = await link.execute([["SET", "a", b"1"], ["INCRBY", "a", 41], ["GET", "a"]])
    assert replies == [b"OK", 42, b"42"]


async def test_an_error_is_the_reply_to_its_command_alone(link: Link):
    replies = await link.execute([["SET", "a", "x"], ["INCR", "a"], ["EVALSHA", "0" * 40, 0], ["GET", "a"]])
    assert (replies[0], replies[3]) == (b"OK", b"x")
    assert isinstance(replies[1], ResponseError)
    assert isinstance(replies[2], NoScriptError)


async def test_no_commands_have_no_replies_and_hold_up_nobody(link: Link):
    assert await link.execute([]) == []
    assert await link.execute([["PING"]]) == [b"PONG"]


async def test_many_at_once_get_each_their_own_replies(link: Link):
    batches = [[["ECHO", f"{batch}.{n}"] for n in range(batch % 5 + 1)] for batch in range(200)]
    all_replies = await asyncio.gather(*map(link.execute, batches))
    assert all_replies == [[command[1].encode() for command in batch] for batch in batches]


async def test_megabytes_go_both_ways(link: Link):
    body = b"x" * 5_000_000
    assert await link.execute([["SET", "a", body], ["GET", "a"]]) == [b"OK", body]


async def test_one_who_stops_waiting_leaves_the_others_their_replies(link: Link):
    await link.execute([["PING"]])
    leaving = asyncio.ensure_future(link.execute([["ECHO", "a"]]))
    staying = asyncio.ensure_future(link.execute([["ECHO", "b"]]))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == [b"b"]


async def test_one_who_stops_waiting_for_the_connection_leaves_it_to_the_others(link: Link):
    leaving = asyncio.ensure_future(link.execute([["ECHO", "a"]]))
    staying = asyncio.ensure_future(link.execute([["ECHO", "b"]]))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == [b"b"]


async def test_a_connection_that_was_lost_while_idle_is_made_anew(link: Link, empty_valkey: Valkey):
    await link.execute([["PING"]])
    other = link_to(empty_valkey.url)
    await other.execute([["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]])
    other.close()
    assert await link.execute([["PING"]]) == [b"PONG"]


async def test_redis_away_is_said_at_once():
    valkey = Valkey().start()
    link = link_to(valkey.url)
    await link.execute([["PING"]])
    valkey.close()
    with pytest.raises(RedisConnectionError):
        await link.execute([["PING"]])
    with pytest.raises(RedisConnectionError):
        await link.execute([["PING"]])


async def test_what_was_under_way_when_the_connection_broke_is_sent_once_more():
    heard: list[bytes] = []

    async def break_the_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        if len(heard) > 1:
            writer.write(b"+OK\r\n")
        writer.close()

    async with server(break_the_first) as url:
        link = link_to(url, **NO_HELLO)
        assert await link.execute([["PING"]]) == [b"OK"]
        assert heard == [b"*1\r\n$4\r\nPING\r\n"] * 2
        link.close()


async def test_one_that_breaks_again_is_given_up():
    async def break_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.close()

    async with server(break_all) as url:
        with pytest.raises(RedisConnectionError):
            await link_to(url, **NO_HELLO).execute([["PING"]])


async def test_a_reply_that_does_not_come_fails_all_that_wait_in_time():
    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass

    async with server(hang) as url:
        link = link_to(url, timeout=0.1, **NO_HELLO)
        waiting = [link.execute([["PING"]]) for _ in range(3)]
        results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        assert [type(result) for result in results] == [RedisTimeoutError] * 3


async def test_who_waited_in_vain_does_not_wait_again():
    heard: list[bytes] = []

    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            heard.append(data)

    async with server(hang) as url:
        with pytest.raises(RedisTimeoutError):
            await link_to(url, timeout=0.1, **NO_HELLO).execute([["PING"]])
    assert heard == [b"*1\r\n$4\r\nPING\r\n"]


async def test_a_reply_that_does_not_come_is_noticed_though_the_one_before_did():
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"+PONG\r\n")
        while await reader.read(1000):
            pass

    async with server(answer_once) as url:
        link = link_to(url, timeout=0.2, **NO_HELLO)
        assert await link.execute([["PING"]]) == [b"PONG"]
        # The first one's deadline is before the second one's.
        await asyncio.sleep(0.1)
        with pytest.raises(RedisTimeoutError):
            await asyncio.wait_for(link.execute([["PING"]]), 10)


async def test_what_is_no_redis_is_left():
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(1000)
        writer.close()

    async with server(babble) as url:
        with pytest.raises(RedisConnectionError):
            await link_to(url, **NO_HELLO).execute([["PING"]])


async def test_closing_fails_what_waits_and_what_is_being_opened():
    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass

    async with server(hang) as url:
        link = link_to(url, **NO_HELLO)
        opening = asyncio.ensure_future(link.execute([["PING"]]))
        await asyncio.sleep(0)
        link.close()
        with pytest.raises(RedisConnectionError):
            await opening
