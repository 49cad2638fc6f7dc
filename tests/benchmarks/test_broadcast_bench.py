import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.broadcast import wire
from benchmarks.broadcast.bench import PEERS, Limit
from benchmarks.broadcast.loader import Loader, LoadFailed
from benchmarks.broadcast.wire import Event, Opening, Post

PROJECT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("cc") is None and not os.environ.get("CI"), reason="there is no C compiler"),
]

TOPIC = wire.topic(1)


def posts_of(limit: Limit, seqs: list[int], deliveries: int) -> list[Post]:
    events = [Event(TOPIC, number, seq) for number, seq in enumerate(seqs)]
    return [Post(limit.post([event]), event.number, 1, deliveries) for event in events]


def test_the_load_generator_counts_what_every_client_hears() -> None:
    with Limit() as limit, Loader() as loader:
        opened = loader.open(limit.port, [limit.opening(number, [TOPIC]) for number in range(50)]).insist()
        posted = loader.post(limit.port, posts_of(limit, [1, 2, 3], 50), seconds=5)

    assert opened.live == 50
    assert (posted.events, posted.accepted, posted.deliveries) == (3, 3, 150)
    assert (posted.lost, posted.doubled, posted.rejected) == (0, 0, 0)
    assert 0 < posted.p50_us <= posted.max_us * 1.02


def test_the_load_generator_sees_what_is_lost_and_doubled() -> None:
    with Limit() as limit, Loader() as loader:
        loader.open(limit.port, [limit.opening(number, [TOPIC]) for number in range(10)]).insist()
        posted = loader.post(limit.port, posts_of(limit, [1, 4, 4, 5], 10), seconds=5)

    assert (posted.lost, posted.doubled) == (20, 10)


def test_the_load_generator_sees_deliveries_that_never_come() -> None:
    with Limit() as limit, Loader() as loader:
        loader.open(limit.port, [limit.opening(number, [TOPIC]) for number in range(10)]).insist()
        posted = loader.post(limit.port, posts_of(limit, [1], 11), seconds=0.1)

    assert (posted.expected, posted.deliveries) == (11, 10)


@pytest.mark.parametrize("become", [Loader.stare, Loader.vanish])
def test_clients_without_manners_hear_nothing_more(become: Callable[[Loader], int]) -> None:
    with Limit() as limit, Loader() as loader:
        loader.open(limit.port, [limit.opening(number, [TOPIC]) for number in range(10)]).insist()
        changed = become(loader)
        posted = loader.post(limit.port, posts_of(limit, [1, 2], 0), seconds=0.1, window=2)

    assert changed == 10
    assert (posted.accepted, posted.deliveries, posted.dropped) == (2, 0, 0)


def test_a_client_that_is_refused_has_failed() -> None:
    with Limit() as limit, Loader() as loader:
        refused = loader.open(limit.port, [Opening(limit.post([Event(TOPIC, 0, 1)]))])

    assert (refused.live, refused.failed, refused.status) == (0, 1, 202)
    with pytest.raises(LoadFailed, match="not all clients could connect"):
        refused.insist()


def test_the_bench_measures_all_peers_it_can_have_and_says_which_it_cannot(tmp_path: Path) -> None:
    arguments = ["--rounds", "1", "--quick", "--only", "ingest", "connecting", "--results", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.broadcast", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    (kept,) = tmp_path.glob("*.json")
    found = {(one["scenario"], one["figure"], one["subject"]): one["median"] for one in json.loads(kept.read_text())}
    text = kept.with_suffix(".md").read_text()
    measured = {subject for scenario, _, subject in found if scenario.startswith("bridge")}
    assert measured | {name for name in PEERS if f"- {name} was not measured" in text} == {Limit.name, *PEERS}
    assert {Limit.name, "CourseHub", "stock Channels"} <= measured
    failed = {value for (_, figure, _), value in found.items() if figure.startswith("failed")}
    assert failed == {0}
    assert kept.with_suffix(".svg").read_text().startswith("<svg")
