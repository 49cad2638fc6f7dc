"""tus-js-client under Node."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.uploads.clients.film import Film
from tests.support import upload_clients
from tests.support.stack import Site

pytestmark = pytest.mark.skipif(upload_clients.why_no_node() is not None, reason=f"{upload_clients.why_no_node()}")


def run(site: Site, film: Film, folder: Path, way: str) -> list[dict[str, Any]]:
    """Upload the film in this way; returns the requests that took."""
    told = {
        "endpoint": f"{site.stack.api_url}/api/v1/uploads/tus/",
        "token": film.owner.token,
        "file": upload_clients.save(film.content, folder),
        "metadata": film.metadata,
        "storage": str(folder / "urls.json"),
    }
    requests: list[dict[str, Any]] = upload_clients.run("tus.mjs", told, way)["requests"]
    assert all(request["status"] < 300 for request in requests), requests
    return requests


def methods(requests: list[dict[str, Any]]) -> Counter[str]:
    return Counter(request["method"] for request in requests)


def test_three_parallel_uploads_become_one_film(site: Site, film: Film, tmp_path: Path) -> None:
    requests = run(site, film, tmp_path, "parallel")

    *partial, final = [request["concat"] for request in requests if request["method"] == "POST"]
    assert partial == ["partial"] * 3 and final.startswith("final;")
    film.is_there()


def test_the_first_bytes_come_with_the_creation(site: Site, film: Film, tmp_path: Path) -> None:
    creation, *_ = run(site, film, tmp_path, "with-creation")

    assert (creation["method"], creation["type"]) == ("POST", "application/offset+octet-stream")
    assert int(creation["offset"]) == 2 * 1024 * 1024
    film.is_there()


def test_an_aborted_upload_goes_on_where_it_was(site: Site, film: Film, tmp_path: Path) -> None:
    requests = run(site, film, tmp_path, "resume")

    assert methods(requests)["POST"] == methods(requests)["HEAD"] == 1
    assert [request["offset"] for request in requests if request["method"] == "HEAD"] == [str(4 * 1024 * 1024)]
    assert methods(requests)["PATCH"] == -(-len(film.content) // (2 * 1024 * 1024))
    film.is_there()


def test_a_stream_of_unknown_length_says_it_at_its_end(site: Site, film: Film, tmp_path: Path) -> None:
    creation, *rest = run(site, film, tmp_path, "deferred-length")

    assert (creation["deferred"], creation.get("length")) == ("1", None)
    assert [request.get("length") for request in rest[:-1]] == [None] * (len(rest) - 1)
    assert rest[-1]["length"] == str(len(film.content))
    film.is_there()


def test_without_patch_the_method_is_overridden(site: Site, film: Film, tmp_path: Path) -> None:
    creation, *rest = run(site, film, tmp_path, "override")

    assert creation.get("override") is None and {request.get("override") for request in rest} == {"PATCH"}
    assert set(methods(rest)) == {"POST"}
    film.is_there()


def test_a_terminated_upload_fails_its_operation(site: Site, film: Film, tmp_path: Path) -> None:
    *_, last = run(site, film, tmp_path, "terminate")

    assert (last["method"], last["status"]) == ("DELETE", 204)
    failed = film.tab.wait_for_event("operation-failed", film.operation_id, 60)
    assert failed["data"]["error"]["code"] == "aborted"
    assert film.ask(f"operations/{film.operation_id}/?wait=20")["status"] == "failed"
