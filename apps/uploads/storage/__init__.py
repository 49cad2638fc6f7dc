"""
Object storage: one adapter over boto3 for any S3, behind a few verbs.

``errors``    what can go wrong: `StorageAway` (try again later), `StorageRefused` (it will not work)
``client``    the one place that builds a boto3 client
``contract``  the verbs, and the values they give
``objects``   `ObjectStore`, which is them over boto3
``bucket``    making and checking the bucket itself

Call `store` for this process's; tests put their own in its place with `use`.
"""

from apps.uploads.storage.contract import ObjectInfo, OpenMultipart, PartInfo, Store
from apps.uploads.storage.errors import (
    ObjectMissing,
    StorageAway,
    StorageMisconfigured,
    StorageRefused,
    UploadMissing,
)
from apps.uploads.storage.objects import ObjectStore
from apps.uploads.storage.process import store, use

__all__ = [
    "ObjectInfo",
    "ObjectMissing",
    "ObjectStore",
    "OpenMultipart",
    "PartInfo",
    "StorageAway",
    "StorageMisconfigured",
    "StorageRefused",
    "Store",
    "UploadMissing",
    "store",
    "use",
]
