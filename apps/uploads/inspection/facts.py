"""What is found out about a file."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Category = Literal["video", "image", "document", "other"]


class Refused(Exception):
    """Why a file is not taken, in words for the person who sent it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A file as its content has it. ``codecs``: the video's first; ``format``: a short name of its own."""

    content_type: str
    category: Category
    format: str
    duration_ms: int | None = None
    width: int | None = None
    height: int | None = None
    codecs: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return asdict(self)

    @classmethod
    def of_dict(cls, said: dict[str, Any]) -> "Facts":
        """Take it from JSON."""
        return cls(**{**said, "codecs": tuple(said["codecs"])})
