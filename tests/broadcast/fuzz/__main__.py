"""``python -m tests.broadcast.fuzz [--minutes 5]``: fuzz for a while; prints the figures of ``docs/conformance.md``."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.broadcast.fuzz import targets
from tests.broadcast.fuzz.live import Live
from tests.broadcast.fuzz.targets import Target

_AT_ONCE = 500
_SETTINGS = settings(
    max_examples=_AT_ONCE,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


def fuzz(target: Target, seconds: float) -> int:
    """Give inputs to a target for so long; returns how many. What it raises ends the run."""
    tried = 0

    def counted(give: Callable[[Any], None]) -> Callable[[Any], None]:
        def given_one(value: Any) -> None:
            nonlocal tried
            tried += 1
            give(value)

        return given_one

    deadline, number = time.monotonic() + seconds, time.time_ns()
    while time.monotonic() < deadline:
        number += 1
        seed(number)(_SETTINGS(given(target.strategy)(counted(target.give))))()
    return tried


def main() -> int:
    """Fuzz each target for its share of the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="coursehub-fuzz-") as folder:
        service = Live(Path(folder))
        try:
            everything = {**targets.pure(), **targets.live(service)}
            share = minutes * 60 / len(everything)
            sys.stdout.write("| target | inputs | crashes |\n|---|---:|---:|\n")
            for name, target in everything.items():
                sys.stdout.write(f"| {name} | {fuzz(target, share):,} | 0 |\n")
                sys.stdout.flush()
            complaints = service.complaints()
        finally:
            service.close()
    sys.stdout.write("".join(f"{line}\n" for line in complaints))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
