"""The format of event streams."""

import pytest

from broadcast.contracts import frames, streams

ONE = "course:01890a5d-ac96-774b-bcce-b302099a8057"
TWO = "user:01890a5d-ac96-774b-bcce-b302099a8058"


@pytest.mark.parametrize("positions", [{}, {ONE: 0}, {ONE: 41, TWO: frames.MAX_SEQ}])
def test_positions_are_read_as_they_were_written(positions: dict[str, int]):
    written = streams.message({}, positions=[streams.position(*one) for one in positions.items()])
    text = written.decode().partition("\n")[0].removeprefix("id: ")
    assert streams.read_positions(text) == positions


@pytest.mark.parametrize(
    "text",
    [
        "7",
        ONE,
        f"{ONE}=",
        f"{ONE}=x",
        f"{ONE}=-1",
        f"{ONE}=+1",
        f"{ONE}=1.0",
        f"{ONE}=1_0",
        f"{ONE}=¹",
        f"{ONE}={2**53}",
        f"{ONE}={'0' * 17}",
        f"{ONE}=1,",
        f",{ONE}=1",
        f"{ONE}=1 ",
        f" {ONE}=1",
        f"{ONE}=1;{TWO}=2",
        f"{ONE}=1,{ONE}=2",
        f"{ONE.upper()}=1",
        "course:7=1",
        "\x00",
    ],
)
def test_whatever_is_no_positions_is_refused(text: str):
    with pytest.raises(streams.InvalidPositions, match=r"^Positions are <topic>=<seq>, "):
        streams.read_positions(text)


def test_an_event_is_a_beginning_of_the_clients_and_an_ending_for_all():
    others = [streams.position(TWO, 7)]
    message = streams.beginning(others) + streams.ending(b'{"a":1}', topic=ONE, seq=5)
    assert message == f'id: {TWO}=7,{ONE}=5\ndata: {{"a":1}}\n\n'.encode()
    assert streams.beginning([]) + streams.ending(b"{}", topic=ONE, seq=5) == f"id: {ONE}=5\ndata: {{}}\n\n".encode()


def test_progress_moves_nobody():
    assert streams.ending(b"{}", topic=ONE, seq=None) == b"data: {}\n\n"


def test_a_frame_says_where_the_client_stands_and_when_to_come_back_if_that_changes():
    assert streams.message({"type": "pong"}) == b'data: {"type":"pong"}\n\n'
    positions = [streams.position(ONE, 1), streams.position(TWO, 2)]
    moved = streams.message({"type": "pong"}, positions=positions, retry_ms=500)
    assert moved == f'retry: 500\nid: {ONE}=1,{TWO}=2\ndata: {{"type":"pong"}}\n\n'.encode()


def test_no_text_can_end_a_message_before_its_end():
    message = streams.message({"type": "error", "message": "a\n\nb\r\u2028data: c"})
    assert message.count(b"\n") == 2
    assert b"\r" not in message
