"""Whose connection it is."""

import pytest

from broadcast.addresses import Origins, parse_networks

ORIGINS = Origins(parse_networks("127.0.0.0/8, ::1, 10.0.0.0/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "counts_for"),
    [
        ("1.2.3.4", "", "1.2.3.4"),
        ("1.2.3.4", "9.9.9.9", "1.2.3.4"),
        ("127.0.0.1", "9.9.9.9", "9.9.9.9"),
        ("127.0.0.1", "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        ("127.0.0.1", "6.6.6.6, 9.9.9.9, 10.1.1.1", "9.9.9.9"),
        ("127.0.0.1", "5.5.5.5:1234", "5.5.5.5"),
        ("10.0.0.1", "[2001:db8::1]:80", "2001:db8::/64"),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", "", "1.2.3.4"),
        ("::1", "", None),
        ("127.0.0.1", "10.2.2.2", None),
        ("127.0.0.1", "unknown", None),
    ],
)
def test_a_connection_counts_for_the_right_most_address_that_is_not_trusted(
    peer: str, forwarded_for: str, counts_for: str | None
):
    assert ORIGINS.of(peer, forwarded_for) == counts_for


def test_nobody_is_trusted_where_nobody_is_named():
    assert Origins(parse_networks("")).of("127.0.0.1", "9.9.9.9") == "127.0.0.1"


@pytest.mark.parametrize("text", ["x", "10.0.0.0/33", "10.0.0.1/8"])
def test_what_is_no_network_is_refused(text: str):
    with pytest.raises(ValueError):
        parse_networks(text)
