"""How an address to listen on is written: one of IPv6 may stand in brackets, or not."""


def bare(host: str) -> str:
    """Write an address as sockets take it."""
    return host.strip("[]")


def in_url(host: str) -> str:
    """Write an address as it stands before a port."""
    return f"[{bare(host)}]" if ":" in host else host
