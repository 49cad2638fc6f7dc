"""Why a step fails, beside the errors that any request may meet."""

from apps.core import errors


class Crashed(errors.CourseHubError):
    """Something went wrong here; this change was not made."""


class Cancelled(errors.CourseHubError):
    """The operation was cancelled before this change was made."""

    code = "cancelled"


class Incomplete(errors.CourseHubError):
    """Not all of the steps that were announced came in time."""

    code = "incomplete"


class RolledBack(errors.CourseHubError):
    """Another change of the same save failed, and all were to succeed or none."""

    code = "rolled_back"


class DependencyFailed(errors.CourseHubError):
    """What this change builds on could not be created."""

    code = "dependency_failed"
