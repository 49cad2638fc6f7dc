"""Uppy in headless Chromium, in a page of another origin."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.uploads.clients.film import Film
from tests.support import upload_clients
from tests.support.stack import Site

pytestmark = pytest.mark.skipif(
    upload_clients.why_no_browser() is not None, reason=f"{upload_clients.why_no_browser()}"
)
ORIGIN = "http://localhost:3000"
"""One that the embedded run allows."""


def upload(site: Site, film: Film, folder: Path, way: str) -> Any:
    told = {
        "origin": ORIGIN,
        "file": upload_clients.save(film.content, folder),
        "way": way,
        "api": site.stack.api_url,
        "token": film.owner.token,
        "name": "film.mp4",
        "meta": {"target": json.dumps(film.target), "operationId": film.operation_id},
    }
    result = upload_clients.run("uppy.mjs", told)
    assert len(result["successful"]) == 1, (result["failed"], result["said"])
    assert result["progress"][-1] == len(film.content)
    return result


def test_uppy_uploads_by_tus_and_reads_the_ids(site: Site, film: Film, tmp_path: Path) -> None:
    result = upload(site, film, tmp_path, "tus")

    done = film.is_there()
    assert result["headers"] == {
        "CourseHub-Video-Id": done["data"]["videoId"],
        "CourseHub-Operation-Id": film.operation_id,
        "Operation-Location": f"/api/v1/operations/{film.operation_id}/",
    }


def test_uppy_uploads_straight_to_storage(site: Site, film: Film, tmp_path: Path) -> None:
    result = upload(site, film, tmp_path, "s3")

    done = film.is_there()
    upload_id = done["data"]["uploadId"]
    assert result["successful"][0]["uploadURL"].endswith(f"/api/v1/uploads/{upload_id}/")
    assert film.ask(f"uploads/{upload_id}/")["protocol"] == "s3"
    figures = [data["progress"] for data in film.progress()]
    assert figures == sorted(figures) and figures[-1] == 100
