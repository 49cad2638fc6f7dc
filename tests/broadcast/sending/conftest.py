"""Both send loops, wherever a test takes one."""

from pathlib import Path

import pytest

from broadcast.sending.loops import PythonLoop, SendLoop
from broadcast.sending.turn import Turn
from tests.support.broadcast_wires import native_loop


@pytest.fixture(scope="session")
def library_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private directory for compiled libraries."""
    return tmp_path_factory.mktemp("libraries")


@pytest.fixture(params=["python", "native"])
def loop(request: pytest.FixtureRequest, library_directory: Path) -> SendLoop:
    """One of the loops."""
    return PythonLoop() if request.param == "python" else native_loop(library_directory)


@pytest.fixture
def turn(loop: SendLoop) -> Turn:
    """A turn of the event loop that is over when the test says so."""
    return Turn(loop, call_soon=lambda _: None)
