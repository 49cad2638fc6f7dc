"""What each part says: JSON on standard output, one object a line, and nothing beside it."""

import json
import signal
import subprocess

import pytest

from coursehub.stack import ports, procfile
from coursehub.stack.logs import is_grave
from demo.client import Api
from tests.support.stack import Course, Site, eventually


def lines_of(site: Site, part: str, *, until: str) -> tuple[list[str], str]:
    """Start a part, have it end once it has said something; returns its lines, and what it said to standard error."""
    command = procfile.argv(procfile.read(procfile.PROCFILE)[part])
    env = site.stack.env | {name: str(ports.free_port()) for name in ("PORT", "WEBSOCKET_PORT")}
    process = subprocess.Popen(
        command, cwd=procfile.PROJECT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if until in line:
            process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)
    return lines, said[1]


@pytest.mark.parametrize(
    ("part", "begun"),
    [("api", "Booting worker"), ("worker", " ready."), ("relay", " ready."), ("broadcast", "Sending")],
)
def test_every_line_is_a_json_object_on_standard_output(site: Site, part: str, begun: str) -> None:
    lines, errors = lines_of(site, part, until=begun)

    assert errors == ""
    for line in lines:
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys(), line
        assert not is_grave(line), line


def test_requests_and_steps_are_logged_there_too(site: Site, course: Course, owner: Api) -> None:
    operation = owner.done(owner.patch(course.path, {"title": "Logged"}))
    for part in ("api", "worker", "broadcast"):
        log = site.stack.data.log(part)
        eventually(lambda log=log: operation["operationId"] in log.read_text())
        assert all(line.startswith("{") for line in log.read_text().splitlines())
