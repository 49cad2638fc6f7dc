"""tuspy."""

import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from tusclient.client import TusClient

from tests.e2e.uploads.clients.film import Film
from tests.support.cutting_proxy import CuttingProxy
from tests.support.stack import Site, eventually
from tests.support.uploading import metadata

CHUNK_BYTES = 2 * 1024 * 1024


def uploader(url: str, film: Film, **more: Any) -> Any:
    client = TusClient(f"{url}/api/v1/uploads/tus/", headers={"Authorization": f"Bearer {film.owner.token}"})
    how = {"chunk_size": CHUNK_BYTES, "metadata": film.metadata, "retries": 5, "retry_delay": 1, **more}
    return client.uploader(file_stream=io.BytesIO(film.content), **how)


def test_with_a_checksum_on_every_piece(site: Site, film: Film) -> None:
    uploader(site.stack.api_url, film, upload_checksum=True).upload()

    done = film.is_there()
    assert done["data"]["finalData"]["contentType"] == "video/mp4"
    figures = [data["progress"] for data in film.progress()]
    assert figures == sorted(figures) and figures[-1] == 100


def test_with_an_answer_that_is_lost_it_asks_and_goes_on(site: Site, film: Film) -> None:
    proxy = CuttingProxy(site.stack.port("api"))
    try:
        retrying = uploader(f"http://127.0.0.1:{proxy.port}", film, retries=1_000, retry_delay=0.01)
        retrying.set_url(retrying.create_url())
        proxy.swallows_answers = True
        with ThreadPoolExecutor(1) as pool:
            chunks = pool.submit(retrying.upload_chunk)
            eventually(lambda: film.ask("uploads/")[0]["bytes"] == CHUNK_BYTES, 120)
            proxy.go_away()
            proxy.swallows_answers = False
            proxy.come_back()
            chunks.result(120)
        assert retrying.offset == 2 * CHUNK_BYTES
        retrying.upload()
    finally:
        proxy.close()

    film.is_there()


def test_a_length_that_is_said_while_it_uploads(site: Site, film: Film) -> None:
    deferred = {"Tus-Resumable": "1.0.0", "Upload-Defer-Length": "1", "Upload-Metadata": metadata(film.metadata)}
    with closing(film.owner.again()) as owner:  # tuspy has no creation without a length
        location = owner.request("POST", "uploads/tus/", None, deferred).headers["Location"]
    later = uploader(site.stack.api_url, film)
    later.set_url(site.stack.api_url + location)

    later.upload_chunk()
    upload = film.ask("uploads/")[0]
    assert (upload["bytes"], upload["total"]) == (CHUNK_BYTES, None)
    later.client.set_headers({"Upload-Length": str(len(film.content))})  # with every request from now on
    later.upload()

    film.is_there()
