"""Parcels: encoded once, labelled, framed."""

import pytest
from autobahn.websocket.protocol import PreparedMessage
from channels_redis.serializers import registry

from broadcast import parcel
from broadcast.parcel import Endings
from tests.support.broadcast_fakes import TOPIC, make_parcel

VIDEO = {"operation_id": "upload-1", "videoId": "v1"}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_a_frame_is_what_an_independent_implementation_makes(size: int):
    payload = b"x" * size
    expected = PreparedMessage(payload, isBinary=False, applyMask=False, doNotCompress=True).payloadHybi
    assert parcel.text_frame(payload) == expected


def test_a_parcel_goes_through_the_channel_layer_unchanged():
    sent = make_parcel(4, type_="video-update-complete", videoId="v1", newTitle="Überblick")
    serializer = registry.get_serializer("msgpack", random_prefix_length=0)
    carried = serializer.deserialize(serializer.serialize({"events": [sent.pack()]}))
    received = parcel.unpack(carried["events"][0], topic=TOPIC)
    assert received.pack() == sent.pack()
    assert received.wire == sent.wire


def test_a_parcel_from_the_history_has_the_same_label():
    sent = make_parcel(4, mediaId="m1")
    read = parcel.from_body(sent.body, topic=TOPIC)
    assert read.pack() == sent.pack()


def test_the_subject_is_the_video_the_media_file_or_the_upload():
    assert make_parcel(1, videoId="v", mediaId="m", uploadId="u").subject == "v"
    assert make_parcel(1, mediaId="m", uploadId="u").subject == "m"
    assert make_parcel(1, uploadId="u").subject == "u"
    assert make_parcel(1, chapterId="c").subject is None
    assert make_parcel(1, videoId=5).subject is None


@pytest.mark.parametrize(
    ("ending", "covered"),
    [
        (make_parcel(1, type_="upload-complete", **VIDEO), True),
        (make_parcel(1, type_="upload-complete", operation_id="upload-1", videoId="v2"), False),
        (make_parcel(1, type_="upload-complete", operation_id="upload-2", videoId="v1"), False),
        # The video was made by the save that also uploads its file: this ends nothing.
        (make_parcel(1, type_="video-create-complete", **VIDEO), False),
        (make_parcel(1, type_="operation-failed", **VIDEO), True),
        (make_parcel(1, type_="operation-failed", operation_id="upload-1", videoId="v2"), False),
        (make_parcel(1, type_="operation-failed", operation_id="upload-1", chapterId="c"), False),
        (make_parcel(1, type_="batch-operation-complete", operation_id="upload-1"), True),
        (make_parcel(1, type_="batch-operation-complete", operation_id="upload-2"), False),
    ],
)
def test_what_ends_which_progress(ending: parcel.Parcel, covered: bool):
    endings = Endings()
    endings.note(ending)
    assert endings.covers(make_parcel(None, type_="upload-progress", **VIDEO)) is covered


def test_only_so_many_endings_are_remembered():
    endings = Endings(capacity=2)
    for number in range(3):
        endings.note(make_parcel(1, type_="upload-complete", operation_id=f"o{number}", videoId="v"))
    progress = [make_parcel(None, type_="upload-progress", operation_id=f"o{n}", videoId="v") for n in range(3)]
    assert [endings.covers(p) for p in progress] == [False, True, True]
