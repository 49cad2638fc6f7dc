"""Where the parts listen."""

import errno
import random
import socket

from coursehub.stack import errors

# Below the range from which the kernel takes the ports of outgoing connections: a port from within it can be taken
# by a client that reconnects while its server is down, and then the server cannot come back.
_LOWEST, _HIGHEST = 20_000, 32_000
_random = random.SystemRandom()


def free_port(host: str = "127.0.0.1") -> int:
    """Find a port that nothing listens on, and that stays free across a restart of what will."""
    while True:
        port = _random.randint(_LOWEST, _HIGHEST)
        if is_free(host, port):
            return port


def is_free(host: str, port: int) -> bool:
    """
    Whether a server could listen there now.

    Raises:
        HostUnusable: the address is none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise errors.HostUnusable(host, error.strerror or str(error)) from error
    return True


def require_free(variable: str, host: str, port: int) -> None:
    """
    Check a port before anything is started.

    Raises:
        PortTaken: something listens there; ``variable`` is what to set.
        HostUnusable: the address is none of this machine's.
    """
    if not is_free(host, port):
        raise errors.PortTaken(variable, host, port)
