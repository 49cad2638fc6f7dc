"""
Which pages of other origins may read an event stream (the Fetch standard's CORS protocol).

A browser's WebSocket asks nobody; its EventSource reads nothing that does not say it may.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from broadcast.publish import Answer

_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET",
    "Access-Control-Allow-Headers": "Authorization, Cache-Control, Last-Event-ID",
    "Access-Control-Max-Age": "86400",
}


def headers(scope: Mapping[str, Any], allowed: Collection[str]) -> dict[str, str]:
    """Make the headers that let a page of an allowed origin read the answer."""
    origin = next((value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"origin"), None)
    if origin not in allowed:
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": str(origin),
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Retry-After",
    }


def allow(answer: Answer, headers: Mapping[str, str]) -> Answer:
    """Add to an answer what lets a page read it."""
    return Answer(answer.status, answer.body, {**headers, **(answer.headers or {})})


def answer_preflight(scope: Mapping[str, Any], allowed: Collection[str]) -> Answer:
    """Tell a browser what a page may send, before it does."""
    found = headers(scope, allowed)
    return Answer(200, {"success": True}, {**found, **(_PREFLIGHT if len(found) > 1 else {})})
