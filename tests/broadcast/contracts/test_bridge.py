"""Signatures of the bridge."""

import pytest

from broadcast.contracts import bridge
from broadcast.contracts.bridge import InvalidSignature

NOW = 1_760_000_000


def test_what_was_signed_is_verified():
    headers = bridge.signed_headers(b"body", secret="s")
    bridge.verify(
        b"body", secret="s", timestamp=headers[bridge.TIMESTAMP_HEADER], signature=headers[bridge.SIGNATURE_HEADER]
    )


def test_the_signature_is_an_hmac_anyone_can_make():
    # printf '1760000000.{}' | openssl dgst -sha256 -hmac secret
    expected = "v1=53dc054739ad94d3532227ba8d397f66ed2166a6b66940c2006692fa6db6829f"
    assert bridge.sign(b"{}", secret="secret", timestamp="1760000000") == expected


@pytest.mark.parametrize(
    ("body", "secret", "timestamp"),
    [
        (b"other", "s", str(NOW)),
        (b"body", "other", str(NOW)),
        (b"body", "s", str(NOW + 1)),
    ],
)
def test_anything_else_is_refused(body: bytes, secret: str, timestamp: str):
    signature = bridge.sign(b"body", secret="s", timestamp=str(NOW))
    with pytest.raises(InvalidSignature):
        bridge.verify(body, secret=secret, timestamp=timestamp, signature=signature, now=NOW)


@pytest.mark.parametrize("timestamp", ["", "x", "-5", "1.5", " 5", "٣", "9" * 400, "9" * 5000])
def test_a_timestamp_that_is_none_is_refused(timestamp: str):
    signature = bridge.sign(b"body", secret="s", timestamp=timestamp)
    with pytest.raises(InvalidSignature):
        bridge.verify(b"body", secret="s", timestamp=timestamp, signature=signature, now=NOW)


@pytest.mark.parametrize(("age", "fits"), [(300, True), (-300, True), (301, False), (-301, False)])
def test_the_window_has_two_sides(age: int, fits: bool):
    timestamp = str(NOW - age)
    signature = bridge.sign(b"body", secret="s", timestamp=timestamp)
    try:
        bridge.verify(b"body", secret="s", timestamp=timestamp, signature=signature, now=NOW)
        verified = True
    except InvalidSignature:
        verified = False
    assert verified is fits
