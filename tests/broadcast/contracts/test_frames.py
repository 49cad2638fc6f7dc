"""What clients may send."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcast.contracts import frames
from broadcast.contracts.frames import InvalidFrame, Ping, Refresh, Subscribe, Unsubscribe


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('{"type":"subscribe","topic":"t"}', Subscribe("t")),
        ('{"type":"subscribe","topic":"t","since":0,"ticket":"x"}', Subscribe("t", 0, "x")),
        ('{"type":"subscribe","topic":"t","since":null,"ticket":null}', Subscribe("t")),
        ('{"type":"unsubscribe","topic":"t","unknown":[1]}', Unsubscribe("t")),
        ('{"type":"refresh","ticket":"x"}', Refresh("x")),
        (' {"type" : "ping"} ', Ping()),
    ],
)
def test_frames_are_read(text: str, frame: frames.ClientFrame):
    assert frames.parse(text) == frame


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "5",
        "null",
        "[]",
        "{}",
        '{"type":null}',
        '{"type":"Ping"}',
        '{"type":"subscribe","topic":""}',
        '{"type":"subscribe","topic":null}',
        '{"type":"subscribe","topic":["t"]}',
        '{"type":"subscribe","topic":"\\ud800"}',
        '{"type":"unsubscribe","topic":"user:\\udfff"}',
        '{"type":"subscribe","topic":"t","since":"1"}',
        '{"type":"subscribe","topic":"t","since":1.0}',
        '{"type":"subscribe","topic":"t","since":false}',
        '{"type":"subscribe","topic":"t","since":9007199254740992}',
        '{"type":"subscribe","topic":"t","ticket":5}',
        '{"type":"refresh"}',
        '{"type":"refresh","ticket":""}',
        '{"type":"ping","x":Infinity}',
        '{"type":"ping"}{"type":"ping"}',
        "[" * 100_000,
        '{"type":"ping","x":' + "1" * 10_000 + "}",
    ],
)
def test_what_is_no_frame_is_refused(text: str):
    with pytest.raises(InvalidFrame):
        frames.parse(text)


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str):
    with contextlib.suppress(InvalidFrame):
        frames.parse(text)


def test_close_codes_are_those_of_the_contract():
    assert {code.name: int(code) for code in frames.CloseCode} == {
        "NO_TICKET": 4001,
        "EXPIRED": 4002,
        "USER_DISABLED": 4003,
        "PROTOCOL_BROKEN": 4004,
        "TOO_SLOW": 4101,
        "TOO_MANY_CONNECTIONS": 4102,
        "TOO_FAST": 4103,
        "GOING_AWAY": 4201,
    }
