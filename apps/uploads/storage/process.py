"""The store of this process."""

import os

from django.conf import settings

from apps.uploads.storage import client
from apps.uploads.storage.contract import Store
from apps.uploads.storage.objects import ObjectStore

_store: Store | None = None


def store() -> Store:
    """Give this process's store, made when first asked for."""
    global _store
    if _store is None:
        _store = make()
    return _store


def use(other: Store | None) -> None:
    """Put another store in its place; None: back to the real one."""
    global _store
    _store = other


def make() -> ObjectStore:
    """Build a store of the settings'."""
    private = client.make()
    is_public = settings.S3_PUBLIC_ENDPOINT_URL in ("", settings.S3_ENDPOINT_URL)
    public = private if is_public else client.make(settings.S3_PUBLIC_ENDPOINT_URL)
    return ObjectStore(private, settings.S3_BUCKET, public_client=public)


# A forked child must not write into its parent's connections.
os.register_at_fork(after_in_child=lambda: use(None))
