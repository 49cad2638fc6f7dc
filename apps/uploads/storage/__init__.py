"""
Object storage: one adapter over boto3 for any S3, behind a few verbs.

``errors``    what can go wrong: `StorageAway` (try again later), `StorageRefused` (it will not work)
``client``    the one place that builds a boto3 client
``contract``  the verbs, and the values they give
``objects``   `ObjectStore`, which is them over boto3
``bucket``    making and checking the bucket itself

Call `store` for this process's, or `brief` where a client waits for a small answer; tests put their own in the place of
both with `use`.
"""

from apps.uploads.storage.contract import ObjectInfo, OpenMultipart, PartInfo, Store
from apps.uploads.storage.errors import (
    NoCredentials,
    ObjectMissing,
    StorageAway,
    StorageMisconfigured,
    StorageRefused,
    UploadMissing,
)
from apps.uploads.storage.objects import ObjectStore
from apps.uploads.storage.process import brief, store, use

__all__ = [
    "NoCredentials",
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
    "brief",
    "store",
    "use",
]
