"""HTTP for the bridge: bytes in, whole POSTs out."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broadcast import requests
from broadcast.contracts import bridge
from broadcast.requests import Expects, Foreign, Found, Post, Reader, Refused

HEADERS = b"Host: x\r\nX-CourseHub-Timestamp: 17\r\nx-coursehub-signature: v1=ab\r\n"


def post(body: bytes = b"{}", *, more: bytes = b"", version: bytes = b"1.1", length: bytes | None = None) -> bytes:
    """Make a request."""
    length = b"%d" % len(body) if length is None else length
    head = b"POST /broadcast HTTP/%s\r\n%sContent-Length: %s\r\n%s\r\n" % (version, HEADERS, length, more)
    return head + body


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    """Make a request whose length nobody knows beforehand."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"POST /broadcast HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n" % HEADERS
    return head + body + b"0\r\n" + trailer + b"\r\n"


def read(*pieces: bytes, reader: Reader | None = None) -> list[Found]:
    """Read what comes in pieces."""
    reader = reader or Reader()
    found: list[Found] = []
    for piece in pieces:
        reader.feed(piece)
        while (thing := reader.next()) is not None:
            found.append(thing)
    return found


def test_a_post_is_read_with_the_headers_that_count():
    assert read(post(b'{"a":1}')) == [Post(b'{"a":1}', "17", "v1=ab", True)]


def test_missing_headers_are_empty():
    assert read(b"POST /broadcast HTTP/1.1\r\nHost: x\r\n\r\n") == [Post(b"", "", "", True)]


def test_only_http_1_0_may_leave_out_the_host():
    (found,) = read(post(version=b"1.0").replace(b"Host: x\r\n", b""))
    assert isinstance(found, Post)


def test_posts_sent_ahead_are_read_in_order():
    assert [found.body for found in read(b"".join(post(b"%d" % n) for n in range(50)))] == [
        b"%d" % n for n in range(50)
    ]


@pytest.mark.parametrize(
    "request_", [post(b"x" * 40), post(b""), chunked(b"x" * 20, b"\r\n\r\n"), chunked(b"ab", trailer=b"T: 1\r\n")]
)
def test_it_does_not_matter_how_the_bytes_are_cut(request_: bytes):
    whole = read(request_)
    assert len(whole) == 1
    assert read(*(request_[n : n + 1] for n in range(len(request_)))) == whole
    for cut in range(len(request_)):
        assert read(request_[:cut], request_[cut:]) == whole


def test_a_chunked_body_is_put_together():
    assert [found.body for found in read(chunked(b"ab", b"cd"), chunked(b"e"))] == [b"abcd", b"e"]


def test_what_follows_a_chunked_body_in_one_piece_ends_the_connection():
    assert read(chunked(b"ab") + post()) == [Post(b"ab", "17", "v1=ab", False)]


def test_a_trailer_is_no_header():
    assert read(chunked(b"ab", trailer=b"X-CourseHub-Signature: v1=cd\r\n")) == read(chunked(b"ab"))


@pytest.mark.parametrize(
    "request_", [post(version=b"1.0"), post(more=b"Connection: close\r\n"), post(more=b"connection: Close\r\n")]
)
def test_a_client_may_want_its_connection_closed(request_: bytes):
    (found,) = read(request_)
    assert isinstance(found, Post) and not found.keep_alive


def test_whoever_asks_first_is_told_to_go_on():
    reader = Reader()
    head = post(b"{}", more=b"Expect: 100-Continue\r\n")[:-2]
    assert read(head, reader=reader) == [Expects()]
    assert read(b"{}", reader=reader) == [Post(b"{}", "17", "v1=ab", True)]


def test_whoever_asks_and_does_not_wait_is_not_told():
    assert read(post(b"{}", more=b"Expect: 100-continue\r\n")) == [Post(b"{}", "17", "v1=ab", True)]


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /metrics HTTP/1.1\r\n\r\n",
        b"POST /broadcast?x=1 HTTP/1.1\r\n",
        b"POST /broadcasts ",
        b"\r\nPOST",
        b"\x16\x03",
    ],
)
def test_what_is_not_for_the_bridge_is_handed_on_as_it_came(begin: bytes):
    assert read(begin) == [Foreign(begin)]
    assert read(post() + begin) == [*read(post()), Foreign(begin)]


def test_an_upgrade_is_not_for_the_bridge():
    request_ = post(b"abc", more=b"Connection: Upgrade\r\nUpgrade: h2c\r\n")
    assert read(request_) == [Foreign(request_)]


@pytest.mark.parametrize("cut", range(1, len(requests.PREFIX)))
def test_nothing_is_decided_before_it_can_be(cut: int):
    reader = Reader()
    assert read(requests.PREFIX[:cut], reader=reader) == []
    assert not reader.is_between


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(length=b"1, 1"), 400),
        (post(length=b"-1"), 400),
        (post(length=b"+2"), 400),
        (post(length=b"0x2"), 400),
        (post(length=b"2\r\nContent-Length: 2"), 400),
        (post(length=b"2\r\nTransfer-Encoding: chunked"), 400),
        (post(length=b"2\r\nTransfer-Encoding: gzip"), 400),
        (post(length=b"9" * 30), 400),
        (post(more=b"X : y\r\n"), 400),
        (post(more=b"X: y\n Z: 1\r\n"), 400),
        (post(more=b"X: a\x00b\r\n"), 400),
        (post(more=b" folded: 1\r\n"), 400),
        (post().replace(b"Host: x\r\n", b""), 400),
        (post(more=b"host: y\r\n"), 400),
        (post(version=b"1.0", more=b"host: y\r\n"), 400),
        (post(version=b"2.0"), 400),
        (post(version=b"0.9"), 400),
        (post(version=b"x"), 400),
        (b"POST /broadcast \r\n\r\n", 400),
        (b"POST /broadcast HTTP/1.1\nHost: x\n\n{}\r\n\r\n", 400),
        (chunked(b"ab").replace(b"2\r\nab", b"zz\r\nab"), 400),
        (chunked(b"ab").replace(b"2\r\nab", b"2\r\nabc"), 400),
        (chunked(b"ab").replace(b"2\r\n", b"-2\r\n"), 400),
        (post(length=b"%d" % (bridge.MAX_BODY_BYTES + 1)), 413),
        (post(more=b"X: " + b"y" * requests.MAX_HEAD_BYTES + b"\r\n"), 431),
        (b"POST /broadcast " + b"y" * requests.MAX_HEAD_BYTES, 431),
    ],
)
def test_what_is_no_request_is_refused_and_what_follows_does_not_count(request_: bytes, status: int):
    found = read(request_, post())
    assert [type(thing) for thing in found] == [Refused]
    assert found[0].status == status


def test_a_body_that_grows_too_large_is_refused_while_it_comes():
    reader = Reader()
    chunk = b"%x\r\n%s\r\n" % (1 << 16, b"x" * (1 << 16))
    head = chunked()[:-5]
    found = read(head, *[chunk] * 64, reader=reader)
    assert found == []
    assert [thing.status for thing in read(chunk, reader=reader)] == [413]


def test_a_body_as_large_as_may_be_is_read():
    (found,) = read(post(b"x" * bridge.MAX_BODY_BYTES))
    assert len(found.body) == bridge.MAX_BODY_BYTES


def test_who_never_stops_sending_what_was_refused_is_hopeless():
    reader = Reader()
    read(post(length=b"%d" % (bridge.MAX_BODY_BYTES + 1))[:-2], reader=reader)
    for _ in range(16):
        assert not reader.is_hopeless
        read(b"x" * bridge.MAX_BODY_BYTES, reader=reader)
    read(b"x", reader=reader)
    assert reader.is_hopeless


def test_it_is_between_requests_only_between_requests():
    reader = Reader()
    assert reader.is_between
    for piece in (post()[:-1][:5], post()[5:-1]):
        read(piece, reader=reader)
        assert not reader.is_between
    read(post()[-1:], reader=reader)
    assert reader.is_between


_PARTS = [
    *post(b"{}").splitlines(keepends=True),
    *chunked(b"ab", b"c").splitlines(keepends=True),
    b"Content-Length: 0\r\n",
    b"Connection: close\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"\r\n",
    b"\n",
    b"\x00",
]


@settings(max_examples=500, deadline=None)
@given(
    parts=st.lists(st.sampled_from(_PARTS) | st.binary(max_size=12), max_size=24),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_no_bytes_do_more_than_be_refused_and_cutting_changes_no_meaning(parts: list[bytes], cuts: list[int]):
    data = b"POST /broadcast HTTP/1.1\r\n" + b"".join(parts)
    edges = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    whole, cut = _meaning(read(data)), _meaning(read(*pieces))
    # One piece may end a connection where several would not (after a chunked body), but never the other way round.
    assert whole == cut or whole == cut[: len(whole)]


def _meaning(found: list[Found]) -> list[object]:
    told: list[object] = []
    for thing in found:
        if isinstance(thing, Post):
            told.append(thing.body)
            if not thing.keep_alive:
                break
        elif isinstance(thing, Foreign | Refused):
            told.append(type(thing))
            break
    return told


def test_mutated_requests_are_survived():
    generator = random.Random(20)
    seeds = [post(b'{"events":[]}'), chunked(b'{"events":', b"[]}"), post(more=b"Expect: 100-continue\r\n")]
    for _ in range(20_000):
        data = bytearray(generator.choice(seeds) * generator.randint(1, 2))
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(len(requests.PREFIX), len(data))
            match generator.randrange(3):
                case 0:
                    data[place] = generator.randrange(256)
                case 1:
                    del data[place : place + generator.randint(1, 5)]
                case _:
                    data[place:place] = generator.choice((b"\r\n", b"0", b" ", b"\xff", b"4194305", b":"))
        for found in read(bytes(data)):
            assert len(found.body) <= bridge.MAX_BODY_BYTES if isinstance(found, Post) else found
