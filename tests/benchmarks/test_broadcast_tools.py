import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.broadcast import tools


@pytest.fixture
def nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tools, "KEPT", tmp_path / "kept")
    tools.node.cache_clear()
    yield tmp_path
    tools.node.cache_clear()


@pytest.mark.skipif(shutil.which("npm") is None and not os.environ.get("CI"), reason="there is no npm")
@pytest.mark.timeout(30)
def test_a_registry_out_of_reach_is_said_at_once_with_the_reason(
    nothing_kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(nothing_kept / "cache"))

    with pytest.raises(tools.ToolMissing, match=r"npm: .*ECONNREFUSED"):
        tools.node()
