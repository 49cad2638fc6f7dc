"""Names of topics."""

import uuid

import pytest

from broadcast.contracts import topics
from broadcast.contracts.topics import InvalidTopic, Parsed
from broadcast.layers import group_of

ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def test_topics_are_made_and_taken_apart():
    assert topics.parse(topics.course(uuid.UUID(ID))) == Parsed("course", ID)
    assert topics.parse(topics.user(ID)) == Parsed("user", ID)


@pytest.mark.parametrize(
    "topic",
    ["", "course", "course:", f"video:{ID}", f"course:{ID.upper()}", f"course:{{{ID}}}", f"course:{ID} ", 5, None, []],
)
def test_anything_else_is_no_topic(topic: object):
    with pytest.raises(InvalidTopic):
        topics.parse(topic)


def test_the_course_of_an_envelope_counts_before_its_user():
    assert topics.of_envelope({"courseId": ID, "userId": ID}) == topics.course(ID)
    assert topics.of_envelope({"userId": ID}) == topics.user(ID)
    for envelope in ({}, {"courseId": None, "userId": ID}, {"userId": 5}):
        with pytest.raises(InvalidTopic):
            topics.of_envelope(envelope)


def test_a_topics_group_is_a_name_that_channels_takes():
    from channels.layers import BaseChannelLayer

    assert BaseChannelLayer().require_valid_group_name(group_of(topics.course(ID)))
