"""How gunicorn serves the floor: with as many threads as the API, but as it comes."""

import os
from typing import Any

bind = f"127.0.0.1:{os.environ['FLOOR_PORT']}"
worker_class = "gthread"
workers = 1
threads = 24
keepalive = 75
control_socket_disable = True


def when_ready(server: Any) -> None:
    """Tell the stack, which waits for this line."""
    server.log.info("The floor is ready.")
