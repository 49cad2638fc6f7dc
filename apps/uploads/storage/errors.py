"""
What object storage can answer instead of doing what it was asked.

    StorageAway                 try again later: nothing is wrong with what was asked
    └── StorageMisconfigured    the same, but somebody has to mend credentials or the bucket's name first
        └── NoCredentials       there are none
    StorageRefused              asking again gives the same answer
    ├── ObjectMissing           there is no object under this key
    ├── UploadMissing           there is no such open multipart upload: it was completed, aborted, or never was
    └── NothingThere            the object ends before the range that was asked for
"""

import contextlib
import logging
from collections.abc import Iterator

from botocore import exceptions as boto
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from apps.core.errors import CourseHubError, Unavailable

log = logging.getLogger(__name__)

_OUR_FAULT = {
    *("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "AuthorizationHeaderMalformed"),
    *("ExpiredToken", "InvalidToken", "PermanentRedirect", "RequestTimeTooSkewed", "AllAccessDisabled", "403"),
}
_PASSING = {
    *("SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestTimeoutException", "InternalError"),
    *("ServiceUnavailable", "OperationAborted", "BandwidthLimitExceeded", "TooManyRequests", "RequestLimitExceeded"),
}
_MISSING = {"NoSuchKey", "NotFound", "404", "NoSuchVersion"}


class StorageAway(Unavailable):
    """File storage is not available right now; try again soon."""

    retry_after_seconds = 5


class StorageMisconfigured(StorageAway):
    """File storage is not available right now; its operator has been told."""


class NoCredentials(StorageMisconfigured):
    """File storage is not set up yet; its operator has been told."""


class StorageRefused(CourseHubError):
    """File storage refused this."""

    code, status = "storage_refused", 502

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__()

    def __str__(self) -> str:
        return f"{type(self).__name__}: {self.reason}"


class ObjectMissing(StorageRefused):
    """This file is not in storage."""


class UploadMissing(StorageRefused):
    """This upload is no longer open in storage."""


class NothingThere(StorageRefused):
    """The file ends before that."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise our errors for boto's; a mistake of ours in calling boto stays what it is."""
    try:
        yield
    except ClientError as error:
        raise of_answer(error) from error
    except boto.NoCredentialsError as error:
        raise misconfigured(str(error), NoCredentials) from error
    except (boto.PartialCredentialsError, boto.InvalidRegionError) as error:
        raise misconfigured(str(error)) from error
    except boto.ParamValidationError as error:
        if "Invalid bucket name" in str(error):
            raise misconfigured(str(error)) from error
        raise
    except (boto.BotoCoreError, ResponseParserError) as error:
        raise StorageAway(str(error)) from error


def of_answer(error: ClientError) -> CourseHubError:
    """What an error answer of storage means to us."""
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    reason = f"{error.operation_name}: {code or status}"
    if code == "NoSuchUpload":
        return UploadMissing(reason)
    if code == "InvalidRange" or status == 416:
        return NothingThere(reason)
    if code in _MISSING:
        return ObjectMissing(reason)
    if code in _OUR_FAULT:
        return misconfigured(reason)
    # An error inside a 200 (CompleteMultipartUpload and copies may do so) counts as a 500.
    return StorageAway() if code in _PASSING or status in (200, 408, 429) or status >= 500 else StorageRefused(reason)


def misconfigured(reason: str, kind: type[StorageMisconfigured] = StorageMisconfigured) -> StorageMisconfigured:
    """Tell the operator of something that is to be mended, and make the error for everyone else."""
    log.error("Object storage does not let us in: look at S3_* and AWS_*.", extra={"reason": reason})
    return kind()
