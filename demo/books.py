"""The outlines that the demo makes courses of: real tables of contents, each with its source and licence."""

import json
from dataclasses import dataclass
from pathlib import Path

from demo.client import Json

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter's title and those of its sections, which become videos."""

    title: str
    sections: list[str]


@dataclass(frozen=True, slots=True)
class Book:
    """A book's or course's table of contents. ``licence`` is an SPDX expression."""

    title: str
    source: str
    licence: str
    attribution: str
    note: str
    chapters: list[Chapter]

    @property
    def sections(self) -> int:
        """How many sections all chapters have together."""
        return sum(len(chapter.sections) for chapter in self.chapters)


def load() -> list[Book]:
    """Load all outlines, the longest first."""
    books = [_read(path) for path in FIXTURES.glob("*.json")]
    return sorted(books, key=lambda book: book.sections, reverse=True)


def _read(path: Path) -> Book:
    raw = json.loads(path.read_text(encoding="utf-8"))
    return Book(**{**raw, "chapters": [Chapter(**chapter) for chapter in raw["chapters"]]})


def as_changes(book: Book) -> list[Json]:
    """Write a book as the changes of one save, its videos referring to their chapters by tempId."""
    changes: list[Json] = []
    for number, chapter in enumerate(book.chapters, 1):
        changes.append({"action": "chapter.create", "tempId": f"chapter-{number}", "title": chapter.title})
        changes += [
            {"action": "video.create", "chapterId": f"chapter-{number}", "title": title} for title in chapter.sections
        ]
    return changes
