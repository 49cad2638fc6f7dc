"""Whose connection it is, as far as its address tells: behind trusted proxies, and grouped where one has many."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_IPV6_GROUP_BITS: Final = 64
"""What one household or server gets of IPv6: single addresses cost whoever has it nothing."""

_REMEMBERED: Final = 4096


def parse_networks(text: str) -> tuple[Network, ...]:
    """
    Read a comma-separated list of networks, or single addresses.

    Raises:
        ValueError: one of them is neither.
    """
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


class Origins:
    """Tells whose a connection is; ``trusted``: the networks whose X-Forwarded-For is believed."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)
        self._look_up = lru_cache(_REMEMBERED)(self._look_up_slowly)

    def of(self, peer: str, forwarded_for: str = "") -> str | None:
        """
        Name the address, or the network of addresses, that a connection counts for; None: nobody to count.

        It is the right-most in ``forwarded_for`` that is not a trusted proxy, or ``peer`` if that is none. Nobody: a
        trusted proxy itself, or a host beside it, without a word of anyone else.
        """
        group, is_trusted = self._look_up(peer)
        if not is_trusted:
            return group
        for hop in reversed(forwarded_for.split(",")):
            group, is_trusted = self._look_up(hop.strip())
            if not is_trusted:
                return group
        return None

    def _look_up_slowly(self, text: str) -> tuple[str, bool]:
        address = _read(text)
        if address is None:
            # Nothing, "unknown", or nonsense: told by somebody trusted, and about nobody.
            return text, True
        return _group(address), any(address in network for network in self._trusted)


def _read(text: str) -> Address | None:
    for candidate in (text, text.rpartition(":")[0], text.partition("]")[0].removeprefix("[")):
        try:
            address = ip_address(candidate.partition("%")[0])
        except ValueError:
            continue
        return getattr(address, "ipv4_mapped", None) or address
    return None


def _group(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((address, _IPV6_GROUP_BITS), strict=False))
