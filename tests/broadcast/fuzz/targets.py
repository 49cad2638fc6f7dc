"""What is fuzzed: each takes one input and raises if the service did what it must not."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hypothesis import strategies as st

from broadcast import batches
from broadcast.contracts import bridge, frames, tickets
from broadcast.contracts.tickets import Ticket
from broadcast.revocations import Revocations
from broadcast.session import Close, Session, Terms
from broadcast.streams import admission
from tests.broadcast.fuzz import inputs
from tests.broadcast.fuzz.live import Live
from tests.support.broadcast_process import TICKET_SECRET

_NOW_MS = 1_760_000_000_000


class Target(NamedTuple):
    """Inputs, and what they are given to."""

    strategy: st.SearchStrategy[Any]
    give: Callable[[Any], None]


def read_frame(text: str) -> None:
    """Read a client's frame: it is one, or `InvalidFrame`."""
    with contextlib.suppress(frames.InvalidFrame):
        frames.parse(text)


def read_ticket(text: str) -> None:
    """Read a ticket: it is one, or `TicketError`."""
    with contextlib.suppress(tickets.TicketError):
        assert isinstance(tickets.read(text, secret=TICKET_SECRET, now_ms=_NOW_MS), Ticket)


def read_body(body: bytes) -> None:
    """Read what was posted: a batch, or `Malformed`."""
    with contextlib.suppress(batches.Malformed):
        batches.read(body)


def verify_headers(given: tuple[str, str, bytes]) -> None:
    """Check a signature that nobody made: it is never right, and nothing else is raised."""
    timestamp, signature, body = given
    with contextlib.suppress(bridge.InvalidSignature):
        bridge.verify(body, secret="fuzz", timestamp=timestamp, signature=signature)
        raise AssertionError("a signature that nobody made was taken")


def ask_for_stream(given: tuple[str, bytes]) -> None:
    """Ask for an event stream: it may begin, or there is an answer that says why not."""
    query, last_event_id = given
    ticket = tickets.issue(secret=TICKET_SECRET, user_id=inputs.USER, seqs={inputs.TOPIC: 3}, now_ms=_NOW_MS)[0]
    headers = [(b"authorization", f"Bearer {ticket}".encode()), (b"last-event-id", last_event_id)]
    scope = {"query_string": query.encode(), "headers": headers}
    answer = admission.admit(scope, _terms(), _NOW_MS + 1)
    assert isinstance(answer, admission.Admitted) or answer.status in (400, 403)


def play_session(texts: list[str]) -> None:
    """Give frames to a session: whatever comes, it answers by effects, and nothing follows a close."""
    issued = tickets.issue(secret=TICKET_SECRET, user_id=inputs.USER, seqs={inputs.TOPIC: 3}, now_ms=_NOW_MS)
    session = Session(issued[1], connection_id="fuzz", terms=_terms())
    for text in texts:
        for effect in session.receive(text, _NOW_MS + 1):
            if isinstance(effect, Close):
                return


def _terms() -> Terms:
    return Terms(
        read_ticket=lambda text, now_ms: tickets.read(text, secret=TICKET_SECRET, now_ms=now_ms),
        revocations=Revocations(),
        heartbeat_seconds=25,
        expiring_ms=60_000,
        topics_per_connection=3,
    )


def pure() -> Mapping[str, Target]:
    """Name the targets that need no process."""
    return {
        "frames": Target(inputs.FRAMES, read_frame),
        "sessions of frames": Target(st.lists(inputs.FRAMES, max_size=12), play_session),
        "tickets": Target(inputs.TICKETS, read_ticket),
        "requests for event streams": Target(inputs.STREAMS, ask_for_stream),
        "bridge bodies": Target(inputs.BODIES, read_body),
        "bridge signatures": Target(st.tuples(st.text(), st.text(), st.binary(max_size=50)), verify_headers),
    }


def live(service: Live) -> Mapping[str, Target]:
    """Name the targets that a running service is; after each input it has to serve its healthy client."""

    def then_serve(give: Callable[[Any], object]) -> Callable[[Any], None]:
        def given(value: Any) -> None:
            give(value)
            service.must_serve()

        return given

    return {
        "HTTP bytes": Target(inputs.HTTP, then_serve(service.throw)),
        "WebSocket bytes": Target(inputs.WIRES, then_serve(service.throw_frames)),
        "asked for event streams": Target(inputs.STREAMS, then_serve(service.ask_for_stream)),
        "signed bridge bodies": Target(inputs.BODIES, then_serve(service.post)),
    }
