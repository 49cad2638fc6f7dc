"""
An OpenStack Swift that speaks S3, in two processes: one that S3 clients talk to, one that holds the disk.

Run from this file alone, in a directory that is its own, with its settings as JSON on standard input. Swift as it is
meant to run is a dozen daemons on many machines, told apart by ports and trusting each other; here its four servers
are started side by side, and what they say to each other goes through Unix sockets that nobody else may open.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import eventlet
import eventlet.hubs
import eventlet.wsgi

eventlet.hubs.use_hub("poll")  # survives a fork
eventlet.monkey_patch()

from eventlet.green import socket  # noqa: E402
from swift.common import bufferedhttp, constraints, utils, wsgi  # noqa: E402
from swift.common.middleware.s3api.controllers import multi_upload  # noqa: E402
from swift.common.middleware.s3api.s3response import NoSuchUpload  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402

SERVERS = {"account": 1, "container": 2, "object": 3}
"""What holds the disk, each with the port that stands for it in Swift's rings."""
PART_POWER = 6
LARGEST_PARTS = 10_000
SMALLEST_PART_BYTES = 5 * 1024 * 1024

_STORAGE = """
[DEFAULT]
swift_dir = .
devices = .
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_level = WARNING
log_custom_handlers = __main__.log_here
[app:main]
use = egg:swift#{kind}
"""
_PROXY = """
[DEFAULT]
swift_dir = .
log_level = WARNING
log_custom_handlers = __main__.log_here
cors_allow_origin = *
cors_expose_headers = ETag
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck listing_formats bulk s3api tempauth
    copy slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = false
[filter:s3api]
use = egg:swift#s3api
location = {region}
max_upload_part_num = {largest_parts}
min_segment_size = {smallest_part_bytes}
cors_preflight_allow_origin = *
[filter:tempauth]
use = egg:swift#tempauth
user_coursehub_coursehub = {secret} .admin
[filter:slo]
use = egg:swift#slo
max_manifest_segments = {largest_parts}
max_manifest_size = 16777216
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
"""
_PLAIN_FILTERS = ("catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "copy", "dlo", "symlink")


def main() -> None:
    """Serve until told to end, or until one of the two processes does."""
    settings = json.load(sys.stdin)
    folder = Path.cwd()
    configure(folder, settings)
    if settings["fast"]:
        os.fsync = lambda _descriptor: None  # type: ignore[assignment]
    utils.set_swift_dir(".")
    listening = {kind: listen(kind) for kind in SERVERS}
    front = eventlet.listen(("127.0.0.1", settings["port"]), backlog=512)
    front.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bufferedhttp.BufferedHTTPConnection.connect = connect
    multi_upload._get_upload_info = upload_info
    if storage := os.fork():
        signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(storage, os.WNOHANG)[0] and os._exit(1))
        serve("proxy", front)
    else:
        threads = [eventlet.spawn(serve, kind, sock) for kind, sock in listening.items()]
        eventlet.spawn(end_with, os.getppid())
        for thread in threads:
            thread.wait()


def configure(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write Swift's files. They hold the secret: the directory is closed to others."""
    (folder / "disk").mkdir(exist_ok=True)
    # What keys are hashed with: another one, and nothing is found again.
    (folder / "swift.conf").write_text(f"[swift-hash]\nswift_hash_path_suffix = {settings['hash']}\n")
    for kind, port in SERVERS.items():
        (folder / f"{kind}.conf").write_text(_STORAGE.format(kind=kind))
        ring = RingBuilder(PART_POWER, 1, 0)
        ring.add_dev({"region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": port, "device": "disk"})
        ring.rebalance()
        ring.get_ring().save(str(folder / f"{kind}.ring.gz"))
    plain = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n" for name in _PLAIN_FILTERS)
    limits = {"largest_parts": LARGEST_PARTS, "smallest_part_bytes": SMALLEST_PART_BYTES}
    (folder / "proxy.conf").write_text(_PROXY.format(**limits, **settings) + plain)


def listen(kind: str) -> Any:
    """Open the Unix socket of a server, named by its port."""
    path = Path(str(SERVERS[kind]))
    path.unlink(missing_ok=True)
    return eventlet.listen(str(path), family=socket.AF_UNIX, backlog=512)


class Link(socket.socket):  # type: ignore[misc]
    """
    A Unix socket that sends nothing as TCP does: without an error, even when the other end has been closed.

    Swift ends a body that way, by when a part with a wrong MD5 may have been refused, and the refusal would be lost.
    """

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Send all of it."""
        if data:
            super().sendall(data, flags)


def connect(connection: Any) -> None:
    """Stand in for `BufferedHTTPConnection.connect`: the port is the name of a Unix socket in this directory."""
    connection._connected_time = time.time()
    connection.sock = Link(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(connection.port))


def upload_info(request: Any, app: Any, upload_id: str) -> Any:
    """Stand in for `multi_upload._get_upload_info`: a part that comes once the upload is complete breaks the object."""
    found, is_under_way = _upload_info(request, app, upload_id)
    if request.method == "PUT" and not is_under_way:
        raise NoSuchUpload(upload_id=upload_id)
    return found, is_under_way


_upload_info = multi_upload._get_upload_info


def serve(kind: str, sock: Any) -> None:
    """What `swift.common.wsgi.run_server` does, but several times in one process."""
    # Not the directory's own path: there may be a # in it, which paste takes for the end.
    app = wsgi.loadapp(f"/proc/self/cwd/{kind}.conf", global_conf={"log_name": kind})
    eventlet.wsgi.server(
        sock,
        app,
        wsgi.NullLogger(),
        protocol=wsgi.SwiftHttpProtocol,
        custom_pool=eventlet.GreenPool(1024),
        socket_timeout=300,
        capitalize_response_headers=False,  # SDKs want ETag, not Etag
        url_length_limit=constraints.MAX_REQUEST_LINE,
    )


def log_here(_conf: Any, _name: Any, _console: Any, _route: Any, _format: Any, logger: Any, _adapted: Any) -> None:
    """Swift logs to syslog, and here too."""
    logger.addHandler(logging.StreamHandler())


def end_with(parent: int) -> None:
    """End when the other process is gone."""
    while os.getppid() == parent:
        eventlet.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main()
