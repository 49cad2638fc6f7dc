"""How large uploads and their parts may be."""

from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet, Sum

from apps.accounts.models import User
from apps.core import errors, sql
from apps.uploads.errors import QuotaExceeded
from apps.uploads.models import OPEN, Upload, UploadStatus

MIB = 1024 * 1024
PARTS_MAX = 10_000
LEAST_PART_BYTES = 5 * MIB


def part_size(size: int | None) -> int:
    """Choose how large the parts of a file are: equal, and so large that 10,000 suffice. None: it may be any file."""
    needed = -(-(settings.UPLOAD_MAX_BYTES if size is None else size) // PARTS_MAX)
    whole = -(-needed // MIB) * MIB
    return int(max(whole, settings.UPLOAD_PART_BYTES, LEAST_PART_BYTES))


def parts_max(size: int | None) -> int:
    """Tell how many parts a file can need: all but the last have 5 MiB or more. None: it may be any file."""
    largest = settings.UPLOAD_MAX_BYTES if size is None else size
    return int(min(-(-largest // LEAST_PART_BYTES), PARTS_MAX))


def check(size: int | None) -> None:
    """
    Refuse sizes that cannot be.

    Raises:
        errors.Invalid: the file is empty.
        errors.PayloadTooLarge: it is larger than any may be.
    """
    if size == 0:
        raise errors.Invalid("An empty file cannot be uploaded.", fields={"size": ["At least 1 byte."]})
    if size is not None:
        _check_largest(size)


def check_found(user: User, size: int, *, besides: UUID) -> None:
    """
    Refuse a file that has come, and whose size nobody had said: what ``besides`` has turned out to be.

    Raises:
        errors.PayloadTooLarge: it is larger than any may be.
        QuotaExceeded: there would be too many bytes.
    """
    _check_largest(size)
    make_room_for_more(user, size, besides=besides)


def check_arrived(upload: Upload, count: int) -> None:
    """
    Refuse more bytes of an open upload than it announced, or, if it said no size, than it may have.

    Raises:
        errors.PayloadTooLarge: that many are too many.
        QuotaExceeded: there would be too many bytes.
    """
    if upload.declared_size is None:
        check_found(upload.user, count, besides=upload.pk)
    elif count > upload.declared_size:
        raise errors.PayloadTooLarge("More came than was announced.", announced=upload.declared_size, found=count)


def _check_largest(size: int) -> None:
    if size > settings.UPLOAD_MAX_BYTES:
        raise errors.PayloadTooLarge("The file is too large.", maximum=settings.UPLOAD_MAX_BYTES)


def make_room(user: User, size: int | None, *, besides: UUID | None = None) -> None:
    """
    Refuse what is over the quotas of a user, for whom the caller counts alone.

    An upload that has not said its size counts as far as it came; ``besides`` does not count.

    Raises:
        QuotaExceeded: too many uploads are open, or there would be too many bytes.
    """
    uploads = _others(user, besides)
    limit = settings.UPLOADS_OPEN_MAX
    if limit and uploads.filter(status__in=OPEN).count() >= limit:
        raise QuotaExceeded("Too many of your uploads are open.", maximum=limit)
    _check_bytes(user, size, besides)


@transaction.atomic
def make_room_for_more(user: User, size: int, *, besides: UUID) -> None:
    """
    Refuse a size that an open upload turns out to have, if it is over the quota.

    Raises:
        QuotaExceeded: there would be too many bytes.
    """
    count_alone(user.pk)
    _check_bytes(user, size, besides)


def count_alone(user_id: UUID) -> None:
    """
    Keep others from counting for a user until the transaction ends.

    Before any other lock: whoever counts may lock uploads then, and append to lanes.
    """
    sql.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 4))", [str(user_id)])


def _check_bytes(user: User, size: int | None, besides: UUID | None) -> None:
    quota = settings.UPLOAD_QUOTA_BYTES
    if quota and bytes_of(user, besides=besides) + (size or 0) > quota:
        raise QuotaExceeded(maximum=quota)


def _others(user: User, besides: UUID | None) -> "QuerySet[Upload]":
    uploads = Upload.objects.filter(user=user)
    return uploads.exclude(pk=besides) if besides else uploads


def bytes_of(user: User, *, besides: UUID | None = None) -> int:
    """Count the bytes of a user's open uploads, as announced, and of the files that came of theirs."""
    uploads = _others(user, besides)
    announced = uploads.filter(status__in=OPEN, declared_size__isnull=False).aggregate(n=Sum("declared_size"))["n"]
    unannounced = uploads.filter(status__in=OPEN, declared_size=None).aggregate(n=Sum("offset"))["n"]
    stored = uploads.filter(Q(status=UploadStatus.COMPLETE) & Q(file__isnull=False)).aggregate(n=Sum("file__size"))["n"]
    return (announced or 0) + (unannounced or 0) + (stored or 0)
