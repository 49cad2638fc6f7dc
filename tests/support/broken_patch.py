"""A tus PATCH by hand, over a socket: it may stop in the middle, break off, or just wait."""

import http.client
import socket
import struct
from urllib.parse import urlsplit

from demo import tus

_RESET = struct.pack("ii", 1, 0)


class OpenPatch:
    """A PATCH whose head is sent, and whose body may come piece by piece, or never."""

    def __init__(self, upload: tus.Upload, offset: int, length: int, *, url: str = "") -> None:
        """``url``: where to, instead of the API itself."""
        address = urlsplit(url or upload.api.url)
        self._socket = socket.create_connection((address.hostname or "", address.port or 80), timeout=60)
        head = {
            "Host": address.netloc,
            "Authorization": f"Bearer {upload.api.token}",
            "Tus-Resumable": "1.0.0",
            "Content-Type": tus.BYTES,
            "Upload-Offset": str(offset),
            "Content-Length": str(length),
        }
        lines = [f"PATCH {upload.url} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def cut(self) -> None:
        """Break the connection, as a network that goes away does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.close()

    def end_early(self) -> None:
        """Send no more, but wait to hear."""
        self._socket.shutdown(socket.SHUT_WR)

    def answer(self) -> http.client.HTTPResponse:
        """Wait for the answer, and close."""
        response = http.client.HTTPResponse(self._socket, method="PATCH")
        response.begin()
        response.read()
        self._socket.close()
        return response
