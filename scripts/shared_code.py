"""
Count how much of what uploads need is shared by course videos and the media library.

The lines of ``apps/uploads``, over those and the two target adapters. Blank lines and comments do not count; migrations
are left out. With ``--least``, a lower share in percent is a failure.
"""

import argparse
import io
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = "apps/uploads"
ADAPTERS = ("apps/courses/upload_target.py", "apps/media/upload_target.py")
_NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines_of_code(source: str) -> int:
    """Count the lines on which there is anything but comments."""
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NOT_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    return len(found)


def count() -> tuple[int, dict[str, int]]:
    """Count the shared lines, and those of each adapter."""
    files = [path for path in sorted((ROOT / SHARED).rglob("*.py")) if "migrations" not in path.parts]
    shared = sum(lines_of_code(path.read_text()) for path in files)
    return shared, {name: lines_of_code((ROOT / name).read_text()) for name in ADAPTERS}


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1: too little is shared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--least", type=float, default=0, help="percent")
    least = parser.parse_args(arguments).least
    shared, adapters = count()
    share = 100 * shared / (shared + sum(adapters.values()))
    for name, lines in {SHARED: shared, **adapters}.items():
        sys.stdout.write(f"{lines:6} lines  {name}\n")
    sys.stdout.write(f"{share:5.1f} %      of them are shared\n")
    return int(share < least)


if __name__ == "__main__":
    sys.exit(main())
