"""A bounded number of hostile inputs; ``python -m tests.broadcast.fuzz`` tries more for as long as it is told."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from tests.broadcast.fuzz import targets
from tests.broadcast.fuzz.live import Live

PURE = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
LIVE = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service that all inputs are thrown at, one after the other."""
    service = Live(tmp_path_factory.mktemp("fuzz"))
    yield service
    service.close()


@pytest.mark.parametrize("name", targets.pure())
def test_no_input_is_answered_with_anything_but_a_refusal(name: str):
    strategy, give = targets.pure()[name]
    PURE(given(strategy)(give))()


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["HTTP bytes", "WebSocket bytes", "asked for event streams", "signed bridge bodies"])
def test_after_each_garbage_a_healthy_client_is_served(live: Live, name: str):
    strategy, give = targets.live(live)[name]
    LIVE(given(strategy)(give))()
    assert live.complaints() == []
