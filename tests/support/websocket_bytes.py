"""WebSocket frames as a server sends them (RFC 6455, section 5.2), taken apart by hand."""


def take_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Take a frame off the front: its opcode, its payload, and what follows it; None: it is not whole yet."""
    length, skip = data[1] & 127 if len(data) > 1 else 0, 2
    if length > 125:
        skip = 4 if length == 126 else 10
        length = int.from_bytes(data[2:skip], "big")
    if len(data) < skip + length:
        return None
    return data[0] & 15, data[skip : skip + length], data[skip + length :]
