"""JSON as it comes in."""

import json

from apps.core.incoming import read_json
from tests.support.api import ApiClient


def test_a_number_is_the_same_however_it_is_written() -> None:
    read = read_json("[1, 1.0, 10e-1, -0.0, 9007199254740991.0]")
    assert json.dumps(read) == "[1, 1, 1, 0, 9007199254740991]"


def test_what_is_no_whole_number_or_too_large_to_be_told_from_the_next_is_left_as_it_is() -> None:
    read = read_json("[1.5, 9007199254740992.0, 1e400]")
    assert json.dumps(read) == "[1.5, 9007199254740992.0, Infinity]"


def test_a_request_with_a_number_written_otherwise_is_the_same_request(api: ApiClient) -> None:
    first = api.post("courses/", b'{"title": "Bread", "price": 5, "operationId": "op"}')
    again = api.post("courses/", b'{"title": "Bread", "price": 5.00, "operationId": "op"}')
    assert (first.status, again.body) == (202, first.body)
