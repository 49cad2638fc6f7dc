"""The stores of this process."""

import os

from django.conf import settings

from apps.uploads.storage import client
from apps.uploads.storage.contract import Store
from apps.uploads.storage.objects import ObjectStore

BRIEF_SECONDS = 5
"""For so long storage may say nothing to a question that a client waits for: it can ask again by itself."""

_store: Store | None = None
_brief: Store | None = None


def store() -> Store:
    """Give this process's store, made when first asked for."""
    global _store
    if _store is None:
        _store = make()
    return _store


def brief() -> Store:
    """Give one that tries once and soon gives up: for small questions, whose client waits for the answer."""
    global _brief
    if _brief is None:
        _brief = make(read_seconds=BRIEF_SECONDS, attempts=1)
    return _brief


def use(other: Store | None) -> None:
    """Put another store in the place of both; None: back to the real ones."""
    global _store, _brief
    _store = _brief = other


def make(*, read_seconds: float = client.READ_SECONDS, attempts: int = client.ATTEMPTS) -> ObjectStore:
    """Build a store of the settings'."""
    private = client.make(read_seconds=read_seconds, attempts=attempts)
    is_public = settings.S3_PUBLIC_ENDPOINT_URL in ("", settings.S3_ENDPOINT_URL)
    public = private if is_public else client.make(settings.S3_PUBLIC_ENDPOINT_URL)
    return ObjectStore(private, settings.S3_BUCKET, public_client=public)


# A forked child must not write into its parent's connections.
os.register_at_fork(after_in_child=lambda: use(None))
