"""tuspy."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tusclient.client import TusClient

from tests.e2e.uploads.clients.film import Film
from tests.support.cutting_proxy import CuttingProxy
from tests.support.stack import Site, eventually

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
