"""Why an upload is refused or fails, beside the errors that any request may meet."""

from apps.core import errors


class QuotaExceeded(errors.PayloadTooLarge):
    """You have no room for this upload; finish or delete others first."""

    code = "quota_exceeded"


class UploadAborted(errors.CourseHubError):
    """The upload was aborted."""

    code, status = "aborted", 410


class UploadExpired(errors.Gone):
    """The upload was left alone for too long."""

    code = "expired"


class Locked(errors.CourseHubError):
    """Another request is working on this upload and does not let go; try again."""

    code, status = "locked", 423
    retry_after_seconds = 1


class Busy(errors.Unavailable):
    """Too many uploads run at this moment; go on in a second."""


class OffsetConflict(errors.Conflict):
    """The upload goes on somewhere else; ask for its offset."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset=offset)


class ChecksumMismatch(errors.CourseHubError):
    """The bytes are not those that were sent: their checksum differs. They were thrown away."""

    code, status = "checksum_mismatch", 460


class WrongSize(errors.CourseHubError):
    """The file is not as long as it was said to be."""

    code = "size_mismatch"


class WrongChecksum(errors.CourseHubError):
    """The file is not the one that was announced: its checksum differs."""

    code = "checksum_mismatch"


class NotAllowed(errors.CourseHubError):
    """Files of this kind cannot be uploaded here."""

    code = "content_not_allowed"


class GaveUp(errors.CourseHubError):
    """The file could not be processed, although it was tried again and again."""

    code = "processing_failed"


class Fenced(Exception):
    """Someone else has taken over the upload: nothing more may be written by this request."""
