"""
The verdict: every event, on every screen, against what was asked for and against what the server holds.

Knows three accounts of the same events: what the intentions demand, what ``GET topics/<topic>/events/`` says was
committed, and what came to each connection. They must agree to the letter.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from demo import progress
from demo.client import Api, Json, topic_of
from demo.replica import OutOfStep
from demo.stage import Intention, Stage
from demo.tab import Hearing, Tab

_QUIET = {"welcome", "subscribed", "heartbeat", "pong"}


def problems(stage: Stage) -> Iterator[str]:
    """Read what was committed, and yield everything that is wrong, as sentences."""
    stage.settle()
    committed = _committed(stage)
    yield from disagreements(stage.intentions.values(), committed, stage.members)
    for tab in stage.members:
        yield from _copies(tab)
        uploads, bulks = _heard(tab, stage.uploads), _heard(tab, stage.bulks)
        yield from (f"{tab.name}: {problem}" for problem in progress.problems(tab.received, uploads))
        yield from (f"{tab.name}: {problem}" for problem in progress.problems_of_bulks(tab.received, bulks))
    yield from outsider(stage.stranger)


def _heard(tab: Tab, told_at: Mapping[str, str]) -> list[str]:
    return [id_ for id_, topic in told_at.items() if topic in tab.hearings]


def disagreements(
    intentions: Iterable[Intention], committed: Mapping[str, Sequence[Json]], tabs: Iterable[Tab]
) -> Iterator[str]:
    """Compare the three accounts; ``committed`` has the events of every topic that a tab may hear."""
    for topic, events in committed.items():
        yield from _numbering(topic, events)
    yield from _against_intentions(intentions, committed)
    for tab in tabs:
        yield from _on_screen(tab, committed)
        yield from _remarks(tab)


def _committed(stage: Stage) -> dict[str, list[Json]]:
    """Read every topic's events from its beginning, each as someone who may."""
    readers = {tab.own_topic: tab.api for tab in stage.members}
    readers |= {topic: stage.owner for topic in stage.tabs[0].hearings if topic.startswith("course:")}
    return {topic: catch_up(reader, topic) for topic, reader in readers.items()}


def catch_up(api: Api, topic: str) -> list[Json]:
    """Read all durable events of a topic over REST, page by page."""
    events: list[Json] = []
    after: int | None = 0
    while after is not None:
        page = api.get(f"topics/{topic}/events/?after={after}&limit=200").body
        events += page["data"]
        after = page["next"]
    return events


def _numbering(topic: str, events: Sequence[Json]) -> Iterator[str]:
    seqs = [event["seq"] for event in events]
    if seqs != list(range(1, len(seqs) + 1)):
        yield f"{topic}: its committed events are numbered {seqs}."


def _against_intentions(intentions: Iterable[Intention], committed: Mapping[str, Sequence[Json]]) -> Iterator[str]:
    """Each operation has led to exactly the events that it had to, in order, on each topic."""
    happened: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for topic, events in committed.items():
        for event in events:
            happened[event.get("operationId", ""), topic].append(event)
    for intention in intentions:
        for topic in committed:
            wanted = [event for event in intention.expected if event.topic == topic]
            events = happened.pop((intention.operation_id, topic), [])
            fits = len(events) == len(wanted) and all(w.fits(e) for w, e in zip(wanted, events, strict=True))
            if not fits:
                told = [_told(event) for event in events]
                yield f"{intention.operation_id} on {topic}: {told} instead of {[event.type for event in wanted]}."
    for operation_id, topic in happened:
        yield f"{topic}: events of {operation_id}, which nobody here asked for."


def _told(event: Json) -> str:
    error = event["data"].get("error") if event["type"] == "operation-failed" else None
    return f"{event['type']} ({error['code']}: {error['message']})" if error else str(event["type"])


def _on_screen(tab: Tab, committed: Mapping[str, Sequence[Json]]) -> Iterator[str]:
    """Each screen got each event of its topics, once, in order, unaltered; and nothing of any other topic."""
    came: dict[str, list[Json]] = defaultdict(list)
    for event in tab.events:
        came[topic_of(event)].append(event)
    for topic in came.keys() - tab.hearings.keys():
        yield f"{tab.name}: has no right to {topic}, and saw {len(came[topic])} events of it."
    for topic, hearing in tab.hearings.items():
        # Whether the event that withdraws a right is still heard is nobody's concern.
        ours = [event for event in came[topic] if event["seq"] != hearing.until]
        yield from _same(f"{tab.name}, {topic}", ours, _due(hearing, committed[topic]))


def _due(hearing: Hearing, events: Sequence[Json]) -> list[Json]:
    end = hearing.until or len(events) + 1
    return [event for event in events if hearing.after < event["seq"] < end]


def _same(where: str, came: Sequence[Json], due: Sequence[Json]) -> Iterator[str]:
    seqs, wanted = [event["seq"] for event in came], [event["seq"] for event in due]
    doubled = [seq for seq, times in Counter(seqs).items() if times > 1]
    if doubled:
        yield f"{where}: events {doubled} came more than once."
    if missing := sorted(set(wanted) - set(seqs)):
        yield f"{where}: events {missing} are missing."
    if excess := sorted(set(seqs) - set(wanted)):
        yield f"{where}: events {excess} should not have come."
    if seqs != sorted(seqs):
        yield f"{where}: events came out of order: {seqs}."
    by_seq = {event["seq"]: event for event in due}
    if altered := [event["seq"] for event in came if by_seq.get(event["seq"], event) != event]:
        yield f"{where}: events {altered} are not what was committed."


def _remarks(tab: Tab) -> Iterator[str]:
    """The broadcast service had nothing to complain of, and lost nothing."""
    for frame in tab.frames:
        withdrawn = frame["type"] == "unsubscribed" and tab.hearings[frame["topic"]].until is not None
        if frame["type"] not in _QUIET and not withdrawn:
            yield f"{tab.name}: was told {frame}."
        if frame.get("recovered") is False:
            yield f"{tab.name}: a resumed subscription was not recovered: {frame}."


def _copies(tab: Tab) -> Iterator[str]:
    """The copy that a screen made of events equals the outline when it is read again."""
    for course_id in tab.copies:
        if tab.hearings[f"course:{course_id}"].until is not None:
            continue
        try:
            copy = tab.copy_of(course_id)
        except OutOfStep as problem:
            yield f"{tab.name}: {problem}"
            continue
        fresh = tab.api.get(f"courses/{course_id}/outline/").data
        yield from (f"{tab.name}: {difference}." for difference in copy.differences(fresh))


def outsider(tab: Tab) -> Iterator[str]:
    """Whoever has no right saw nothing, and was told so when they tried."""
    for event in tab.events:
        yield f"The outsider saw {event}."
    refusals = [frame for frame in tab.frames if frame["type"] == "error" and frame["code"] == "permission_denied"]
    if not refusals:
        yield "The outsider was not refused."
