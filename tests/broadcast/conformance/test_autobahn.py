"""RFC 6455 as Autobahn|Testsuite's fuzzing client sees it, on the server and protocols that the service runs on."""

import pytest

from tests.broadcast.conformance import autobahn
from tests.support import peers

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(peers.why_no_wstest() is not None, reason=str(peers.why_no_wstest())),
]


@pytest.mark.parametrize("way", autobahn.WAYS)
def test_every_case_ends_strictly_as_it_should(way: str):
    verdicts = autobahn.run(way)
    assert len(verdicts) == autobahn.CASES
    assert {case: verdict for case, verdict in verdicts.items() if verdict != autobahn.expected(case)} == {}
