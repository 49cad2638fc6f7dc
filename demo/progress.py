"""
What progress of uploads and of bulk requests must look like on a screen, by docs/events.md and docs/media.md.

It only grows; at most ten figures a second, and at least one while bytes flow; the last one says that everything is
there, and comes before the completion.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from demo.client import Json, Received

TYPES = frozenset({"upload-progress", "media-upload-progress"})
_ENDS = frozenset({"upload-complete", "media-upload-complete", "operation-failed"})
MOST_A_SECOND = 10
LONGEST_SILENCE_MS = 3000
"""A figure is due each second while bytes flow. On a busy machine these pause as well, and nobody here knows when."""


def problems(received: Sequence[Received], upload_ids: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with the progress of these uploads as it came to one screen, as sentences."""
    by_upload: dict[str, list[Json]] = {upload_id: [] for upload_id in upload_ids}
    for one in received:
        upload_id = one.frame.get("data", {}).get("uploadId")
        if upload_id in by_upload and one.frame["type"] in TYPES | _ENDS:
            by_upload[upload_id].append(one.frame)
    for upload_id, events in by_upload.items():
        for problem in _of_one(events):
            yield f"Upload {upload_id}: {problem}"


def problems_of_bulks(received: Sequence[Received], operation_ids: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with the progress of these bulk operations as it came to one screen, as sentences."""
    for operation_id in operation_ids:
        ours = [one.frame for one in received if one.frame.get("operationId") == operation_id and "data" in one.frame]
        figures = [event["data"] for event in ours if "seq" not in event]
        done = [figure["done"] for figure in figures]
        if not done or done != sorted(done) or done[-1] != figures[-1]["total"]:
            yield f"Operation {operation_id}: its progress was {done}."
        if not ours or ours[-1]["type"] != "batch-operation-complete":
            yield f"Operation {operation_id}: it did not end with its end."


def _of_one(events: Sequence[Json]) -> Iterator[str]:
    figures = [event for event in events if event["type"] in TYPES]
    if not figures:
        yield "nobody heard how far it is."
        return
    if any(event["type"] in _ENDS for event in events[:-1]):
        yield f"something came after its end: {[event['type'] for event in events]}."
    if any(later["data"]["bytes"] < earlier["data"]["bytes"] for earlier, later in pairwise(figures)):
        yield f"its progress went back: {[event['data']['bytes'] for event in figures]}."
    if events[-1]["type"] != "operation-failed":
        yield from _of_a_whole_one(figures)
    yield from _of_times([event["timestamp"] for event in figures])


def _of_a_whole_one(figures: Sequence[Json]) -> Iterator[str]:
    last = figures[-1]["data"]
    if (last["bytes"], last["progress"]) != (last["total"], 100):
        yield f"its last figure was {last['bytes']} of {last['total']}."
    flowing = [event["timestamp"] for event in figures if event["data"]["status"] == "uploading"]
    if any(later - earlier > LONGEST_SILENCE_MS for earlier, later in pairwise(flowing)):
        yield f"too long without a figure: {flowing}."


def _of_times(times: Sequence[int]) -> Iterator[str]:
    for earlier, later in zip(times, times[MOST_A_SECOND:], strict=False):
        if later - earlier < 1000:
            yield f"more than {MOST_A_SECOND} figures in a second: {times}."
            return
