"""What both send loops promise, on real sockets: room, no room, too little room, a closed line, a peer that is gone."""

from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadcast.sending.loops import Part, PythonLoop, Rest, SendLoop
from tests.support.broadcast_wires import Wire, lines_of, native_loop

OPEN, SMALL, FULL, CLOSED, GONE = "open", "small", "full", "closed", "gone"

kinds = st.lists(st.sampled_from([OPEN, SMALL, FULL, CLOSED, GONE]), min_size=1, max_size=6)
sizes = st.one_of(st.integers(1, 300), st.integers(1000, 30_000))


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[str], list[tuple[list[int], int]]]:
    """Some lines, and parts: which lines each goes to, and how long it is."""
    lines = draw(kinds)
    chosen = st.lists(st.integers(0, len(lines) - 1), unique=True, min_size=1)
    return lines, draw(st.lists(st.tuples(chosen, sizes), min_size=1, max_size=8))


class Scene:
    """Real sockets in a certain state, and parts to send to them."""

    def __init__(self, lines: Sequence[str], parts: Sequence[tuple[list[int], int]]) -> None:
        self.wires = [Wire(small=kind in {SMALL, FULL}) for kind in lines]
        self.filled = [wire.fill() if kind == FULL else 0 for kind, wire in zip(lines, self.wires, strict=True)]
        for kind, wire in zip(lines, self.wires, strict=True):
            if kind == GONE:
                wire.far.close()
        self.sockets = array(
            "i", [-1 if kind == CLOSED else wire.near.fileno() for kind, wire in zip(lines, self.wires, strict=True)]
        )
        self.parts: list[Part] = [
            (array("i", chosen), bytes([65 + number % 26]) * size) for number, (chosen, size) in enumerate(parts)
        ]

    def wanted(self, line: int) -> list[tuple[int, int, bytes]]:
        """Everything a line is to get: part, place, bytes."""
        return [
            (number, list(lines).index(line), data)
            for number, (lines, data) in enumerate(self.parts)
            if line in list(lines)
        ]

    def close(self) -> None:
        """Close all."""
        for wire in self.wires:
            wire.close()


def check(scene: Scene, lines: Sequence[str], rests: Sequence[Rest]) -> None:
    """Hold what arrived against what the loop says did not go out."""
    sent_of = {(rest.part, rest.place): rest.sent for rest in rests}
    assert len(sent_of) == len(rests), "an entry is named twice"
    for line, kind in enumerate(lines):
        wanted = scene.wanted(line)
        out = [sent_of.get((part, place), len(data)) for part, place, data in wanted]
        stuck = [index for index, (part, place, _) in enumerate(wanted) if (part, place) in sent_of]
        assert stuck == list(range(stuck[0], len(wanted))) if stuck else True
        assert all(sent == 0 for sent in [out[index] for index in stuck[1:]])
        if kind != GONE:
            arrived = scene.wires[line].received()[scene.filled[line] :]
            assert arrived == b"".join(data[:sent] for (_, _, data), sent in zip(wanted, out, strict=True))
        if kind in {CLOSED, FULL, GONE}:
            assert sum(out) == 0
        if kind == OPEN and sum(len(data) for _, _, data in wanted) < 50_000:
            assert not stuck


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(situation=situations())
def test_what_is_not_named_as_left_has_arrived_whole_and_in_order(
    loop: SendLoop, situation: tuple[list[str], list[tuple[list[int], int]]]
):
    lines, parts = situation
    scene = Scene(lines, parts)
    try:
        check(scene, lines, loop.send(scene.parts, scene.sockets))
    finally:
        scene.close()


@settings(max_examples=100, deadline=None)
@given(situation=situations())
def test_both_loops_do_the_same(library_directory: Path, situation: tuple[list[str], list[tuple[list[int], int]]]):
    lines, parts = situation
    results = []
    for each in (PythonLoop(), native_loop(library_directory)):
        scene = Scene(lines, parts)
        try:
            rests = sorted(each.send(scene.parts, scene.sockets))
            arrived = [b"" if kind == GONE else wire.received() for kind, wire in zip(lines, scene.wires, strict=True)]
            results.append((rests, arrived))
        finally:
            scene.close()
    assert results[0] == results[1]


def test_more_parts_than_one_system_call_takes_arrive_in_order(loop: SendLoop):
    wire = Wire()
    parts = [(lines_of(0), b"%04d" % number) for number in range(200)]
    assert list(loop.send(parts, array("i", [wire.near.fileno()]))) == []
    assert wire.received() == b"".join(data for _, data in parts)
    wire.close()


def test_scratch_memory_grows_with_what_comes(loop: SendLoop):
    wires = [Wire() for _ in range(40)]
    sockets = array("i", [wire.near.fileno() for wire in wires])
    for count in (1, 40, 2, 40):
        parts = [(lines_of(*range(count)), b"one "), (lines_of(*range(0, count, 2)), b"two")]
        assert list(loop.send(parts, sockets)) == []
        assert [wire.received() for wire in wires[:count]] == [
            b"one two" if n % 2 == 0 else b"one " for n in range(count)
        ]
    for wire in wires:
        wire.close()


@pytest.mark.parametrize("parts", [1, 2])
def test_a_line_that_closes_between_two_calls_gets_nothing_any_more(loop: SendLoop, parts: int):
    wire = Wire()
    sockets = array("i", [wire.near.fileno()])
    given_parts = [(lines_of(0), b"x")] * parts
    loop.send(given_parts, sockets)
    sockets[0] = -1
    assert len(loop.send(given_parts, sockets)) == parts
    assert wire.received() == b"x" * parts
    wire.close()
