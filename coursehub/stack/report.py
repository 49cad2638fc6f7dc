"""What the embedded run tells the person at the terminal."""

import sys
import threading
from pathlib import Path

from coursehub.stack import logs
from coursehub.stack.stack import Stack

_lock = threading.Lock()


def say(text: str) -> None:
    """Print, at once and without another thread's lines in between."""
    with _lock:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


class Listener:
    """Shows what parts log: warnings and worse, or everything."""

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose

    def __call__(self, name: str, line: str) -> None:
        if self._verbose:
            say(f"{name:<9} | {line}")
        elif logs.is_grave(line):
            say(f"{name:<9} | {logs.readable(line)}")


def banner(stack: Stack) -> str:
    """What runs where, how to log in, and what to try."""
    api, env = stack.api_url, stack.env
    rows = [
        ("API", f"{api}/api/v1/"),
        ("Documentation", f"{api}/api/docs/"),
        ("Admin", f"{api}/admin/"),
        ("WebSocket", stack.ws_url),
        ("Bridge", f"{env['BROADCAST_URL']}/broadcast"),
        ("PostgreSQL", without_password(env["DATABASE_URL"])),
        ("Valkey", without_password(env["REDIS_URL"])),
        ("S3", f"{env['S3_ENDPOINT_URL']}/{env['S3_BUCKET']}" if env.get("S3_ENDPOINT_URL") else "none"),
        ("Data and logs", f"{stack.data.path} (the logs in logs/, every address and password in stack.json)"),
    ]
    width = max(len(name) for name, _ in rows)
    lines = ["", "CourseHub is running.", *(f"  {name:<{width}}  {value}" for name, value in rows)]
    return "\n".join([*lines, *_login(stack), "", "Ctrl-C stops everything.", ""])


def _login(stack: Stack) -> list[str]:
    if not (login := stack.login):
        return []
    body = f'{{"username": "{login["username"]}", "password": "{login["password"]}"}}'
    try_it = f"curl -s -H 'Content-Type: application/json' -d '{body}' {stack.api_url}/api/v1/auth/token/"
    data = "" if stack.data.path == Path(".data").resolve() else f"COURSEHUB_DATA={stack.data.path} "
    return [
        "",
        f"  Log in as {login['username']} with the password {login['password']}",
        "",
        f"Try, in another terminal:  {data}make demo",
        f"or get a token:            {try_it}",
    ]


def without_password(url: str) -> str:
    """A URL that may be shown."""
    scheme, separator, rest = url.partition("://")
    credentials, at, address = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{separator}{user}{colon and ':…'}{at}{address}"
