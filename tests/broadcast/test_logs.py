"""Logs that can be read by machines, and give nothing away."""

import json
import logging
import subprocess
import sys

from broadcast.logs import RedactingFormatter
from tests.support.broadcast_process import ROOT, ticket


def test_one_line_is_one_object_with_what_was_given_as_extra():
    program = (
        "import logging; from broadcast import logs; logs.configure('INFO');"
        "logging.getLogger('a').info('Taken', extra={'operationId': 'save-1'}); logging.getLogger('a').debug('x')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    record = json.loads(line)
    assert record["message"] == "Taken"
    assert (record["level"], record["logger"], record["operationId"]) == ("INFO", "a", "save-1")
    assert record["time"].endswith("+0000") or "T" in record["time"]


def test_a_ticket_that_finds_its_way_into_a_message_is_blotted_out():
    text = ticket("01890a5d-ac96-774b-bcce-b302099a8057")
    record = logging.LogRecord("a", logging.INFO, "f", 1, "GET /ws/?ticket=%s", (text,), None)
    assert json.loads(RedactingFormatter("%(message)s").format(record))["message"] == "GET /ws/?ticket=<ticket>"
