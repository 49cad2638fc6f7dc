"""Scenario of clients without manners: what the others notice of them, what they cost, and whether they are counted."""

from dataclasses import replace

from benchmarks.broadcast import scene as scenes
from benchmarks.broadcast.bench import Bench
from benchmarks.broadcast.nuisances import Caller, Flooder, Sipper
from benchmarks.broadcast.scene import GOOD, Scene
from benchmarks.broadcast.wire import EVENT_BYTES
from broadcast.contracts import topics

DEAF, FAT_BYTES, VANISHED_TOPICS = 100, 20_000, 100
NEVER_READ = f"{DEAF} never read, one reads a byte a second"
STRANGER = b"198.51.100.7"


def manners(bench: Bench) -> None:
    """Measure clients that behave before and while others do not: they do not read, or vanish, or flood."""
    bench.remark(
        "Manners: the limits are those that the service has by itself. Who is silent is dropped after "
        f"{sum(scenes.patience(bench)):g} s instead of 50. Those that vanish have a filter on their sockets that drops "
        "every packet unacknowledged. Memory is the process' own (RSS)."
    )
    for misbehave in (_never_read, _vanish, _flood_frames, _flood_subscriptions, _flood_connects):
        with scenes.gathered(bench) as scene:
            misbehave(scene)


def _never_read(scene: Scene) -> None:
    with scene.others(DEAF, on_topics=1, event_bytes=FAT_BYTES) as others:
        before = scene.measure()
        with Sipper(scene.peer.port, scene.opening(DEAF)):
            others.stare()
            during = scene.measure()
            scene.wait_until_counted("connections_closed 4101", DEAF)
    scene.note(NEVER_READ, before, during)


def _vanish(scene: Scene) -> None:
    count = scene.bench.at_most(scene.bench.effort.many + GOOD) - GOOD
    with scene.others(count, on_topics=VANISHED_TOPICS, event_bytes=EVENT_BYTES) as others:
        before = scene.measure()
        others.vanish()
        during = scene.measure(sum(scenes.patience(scene.bench)))
        scene.wait_until_counted("connections_closed silent", count)
    scene.note(f"{count:,} vanish without FIN", before, during)


def _flood_frames(scene: Scene) -> None:
    _flood(scene, "a client floods frames", Flooder(scene.peer.port, scene.opening(0), {"type": "ping"}))


def _flood_subscriptions(scene: Scene) -> None:
    topic = topics.course(scene.topics[0])
    frames = {"type": "subscribe", "topic": topic, "since": 0}, {"type": "unsubscribe", "topic": topic}
    _flood(scene, "a client floods subscriptions", Flooder(scene.peer.port, scene.opening(0), *frames))


def _flood_connects(scene: Scene) -> None:
    opening = scene.opening(0)
    # Through a proxy that is trusted, as strangers come.
    request = opening.request.removesuffix(b"\r\n") + b"X-Forwarded-For: " + STRANGER + b"\r\n\r\n"
    _flood(scene, "a client floods connects", Caller(scene.peer.port, replace(opening, request=request)))


def _flood(scene: Scene, what: str, flooder: Flooder | Caller) -> None:
    before = scene.measure()
    with flooder:
        during = scene.measure()
    scene.note(what, before, during)
