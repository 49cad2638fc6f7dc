"""JSON as clients send it, in bodies, headers and cursors."""

import json
from typing import Any, NoReturn

DEEPEST = 64
"""So many objects and lists may be within each other: what is deeper can be read, but not always written again."""

_NESTING = frozenset({dict, list})


def read_json(text: str) -> Any:
    """
    Read JSON. Numbers that are the same to JSON are the same here: 3.0 is 3.

    Raises:
        ValueError: it is none, or nested deeper than `DEEPEST`.
    """
    try:
        value = json.loads(text, parse_float=_read_number, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _depth(value) > DEEPEST:
        raise ValueError("nested too deeply")
    return value


def _read_number(text: str) -> float:
    """Read a number that is not written as a whole one. From 2**53 on it may stand for another that is near."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _depth(value: Any) -> int:
    """Count the levels of objects and lists, none for a plain value."""
    depth = -1
    level: list[Any] = [[value]]
    while level:
        # By type alone: that takes a quarter of the time of isinstance, and a save has thousands of values.
        insides = (outer.values() if type(outer) is dict else outer for outer in level)
        level = [inner for inside in insides for inner in inside if type(inner) in _NESTING]
        depth += 1
    return depth
