"""What Schemathesis loads before it generates requests (``SCHEMATHESIS_HOOKS``)."""

import schemathesis

_NAMED_TWICE = {"Operation-Id": "operationId", "Operation-Expect": "expect", "Idempotency-Key": "stepId"}


@schemathesis.hook
def map_case(context: schemathesis.HookContext, case: schemathesis.Case) -> schemathesis.Case:
    """
    Let a request that is to be valid name itself in one place.

    A header and a field of the body that differ are refused; that two places must agree is beyond a schema.
    """
    if case.meta and case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        for header, field in _NAMED_TWICE.items():
            if header in (case.headers or {}):
                case.body.pop(field, None)
    return case
