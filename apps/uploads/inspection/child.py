"""
The process that looks into a file nobody trusts.

It has no environment and no credentials; once it has loaded what it needs it cannot open another file or socket, and
has little memory and time. Whatever a hole in a decoder could be used for, there is nothing to be had here.
"""

import importlib
import json
import os
import pkgutil
import resource
import socket
from types import ModuleType
from typing import Any

from apps.uploads.inspection import ranges
from apps.uploads.inspection.facts import Refused

MEMORY_BYTES = 1024 * 1024 * 1024
CPU_SECONDS = 20
BUDGET_BYTES = 128 * 1024 * 1024


def main() -> None:
    """Talk to the parent over the socket that is our standard input, and end."""
    probes = _load()
    stream: Any = socket.socket(fileno=0).makefile("rwb")
    said = json.loads(ranges.exactly(stream, ranges.LENGTH.unpack(ranges.exactly(stream, ranges.LENGTH.size))[0]))
    limits = probes.Limits(tuple(said["types"]), said["image_pixels"], said["bytes_by_category"])
    _give_up_rights()
    stream.write(ranges.HELLO)
    file = ranges.RangeFile(ranges.asking(stream), said["size"], budget_bytes=BUDGET_BYTES)
    try:
        outcome: dict[str, object] = {"facts": probes.probe(file, limits).as_dict()}
    except Refused as error:
        outcome = {"refused": str(error)}
    except (MemoryError, ranges.TooMuch):
        outcome = {"refused": "Reading the file takes more than it should."}
    data = json.dumps(outcome).encode()
    stream.write(ranges.ASK.pack(ranges.DONE, 0, len(data)) + data)
    stream.flush()
    os._exit(0)


def _load() -> ModuleType:
    """Import all that a file may need: later on nothing can be read any more, and both libraries import as they go."""
    import av
    from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401

    from apps.uploads.inspection import probes

    Image.preinit()
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in ("av.__main__", "av.datasets"):
            importlib.import_module(module.name)
    return probes


def _give_up_rights() -> None:
    """Let nothing be opened, written or grown from here on."""
    for kind, limit in (
        (resource.RLIMIT_NOFILE, 0),  # what is open stays; a limit of 3 would let one that is closed be had again
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
