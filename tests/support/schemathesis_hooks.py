"""What Schemathesis loads before it generates requests (``SCHEMATHESIS_HOOKS``)."""

from typing import Any

import schemathesis

_NAMED_TWICE = {"Operation-Id": "operationId", "Operation-Expect": "expect", "Idempotency-Key": "stepId"}


schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """
    Let a request that is to be valid name itself in one place.

    A header and a field of the body that differ are refused; that two places must agree is beyond a schema. Here, since
    links between requests set headers after a case was made.
    """
    if case.meta and case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        for header, field in _NAMED_TWICE.items():
            if header in (case.headers or {}):
                case.body.pop(field, None)
