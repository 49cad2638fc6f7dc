"""Whose page asks."""

import pytest

from broadcast.contracts import origins


@pytest.mark.parametrize(
    "text",
    [
        *("https://example.org", "http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:3000"),
        *("https://xn--bcher-kva.example", "capacitor://localhost", "chrome-extension://abcdefgh"),
    ],
)
def test_an_origin_is_a_scheme_a_host_and_perhaps_a_port(text: str):
    assert origins.is_origin(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "null", "example.org", "localhost:3000", "//example.org", "https://", "https://*.example.org"),
        *("https://example.org/", "https://example.org/app", "https://Example.org", "https://example.org:x"),
        *("https://example.org:", "https://example.org:0", "https://a b", "https://user@example.org"),
    ],
)
def test_anything_else_is_none(text: str):
    assert not origins.is_origin(text)
