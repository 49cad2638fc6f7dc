"""Asking about operations, retrying and cancelling them."""

from typing import Any

from django.http import JsonResponse
from rest_framework.request import Request

from apps.accounts.authentication import user_of
from apps.core import clock, documentation
from apps.core.api import ApiView, answer, json_body
from apps.core.pagination import Page, paginate
from apps.core.schemas import parse
from apps.operations import schemas, selectors, services, submit
from apps.operations.api import MutationView, accept, identity_of, mutation
from apps.operations.models import Operation, Step, StepStatus


class OperationsView(ApiView):
    """A user's operations."""

    @documentation.answers(schemas.OperationSummaryData, page=True, query=Page, can_fail=(400,), name="operations_list")
    def get(self, request: Request) -> JsonResponse:
        """List one's own operations, newest first."""
        return paginate(selectors.visible_to(user_of(request)), self.query(Page), show=show_summary)


class OperationView(ApiView):
    """One operation."""

    @documentation.answers(schemas.OperationData, query=schemas.Wait, can_fail=(400, 404))
    def get(self, request: Request, key: str) -> JsonResponse:
        """Read an operation; ``wait`` holds the answer back until it ends, for at most so many seconds."""
        wait = self.query(schemas.Wait).wait
        operation = selectors.operation_once_ended(user_of(request), key, wait_seconds=wait)
        return answer(show_operation(operation))


class RetryView(MutationView):
    """Another try."""

    @mutation(schemas.RetryData, can_fail=(404, 410))
    def post(self, request: Request, key: str) -> JsonResponse:
        """Do an ended operation's failed steps again, as a new operation."""
        body = parse(schemas.Mutation, json_body(request))
        identity = identity_of(request, body)
        digest = submit.fingerprint(method="POST", path=request.path, body={}, expect=identity.expect)
        user = user_of(request)
        return accept(
            submit.once(
                *(user, identity, digest),
                lambda: services.retry(selectors.operation(user, key), user, identity, digest),
            )
        )


class CancelView(ApiView):
    """Never mind."""

    @documentation.answers(
        schemas.NothingData,
        answer=documentation.accepted(schemas.NothingData),
        body=schemas.NothingData,
        status=202,
        can_fail=(400, 403, 404, 409, 413, 415),
    )
    def post(self, request: Request, key: str) -> JsonResponse:
        """Cancel the steps of an operation that have not begun."""
        parse(schemas.NothingData, json_body(request))
        operation = selectors.operation(user_of(request), key)
        services.cancel(operation.pk)
        return accept(submit.Accepted(operation.key, {}))


def show_summary(operation: Operation) -> dict[str, Any]:
    """Render an operation without its steps."""
    return {
        "operationId": operation.key,
        "kind": operation.kind,
        "status": operation.status,
        "expected": operation.expected,
        "succeeded": operation.succeeded,
        "failed": operation.failed,
        "progress": _progress(operation),
        "topic": operation.topic,
        "seq": operation.seq,
        "createdAt": clock.to_rfc3339(operation.created_at),
        "finishedAt": clock.to_rfc3339(operation.finished_at),
        "error": operation.error,
    }


def _progress(operation: Operation) -> int:
    """Tell how much of an operation is done, in percent; an open step counts as far as it is."""
    done = 100 * operation.ended
    if not operation.finished_at:
        done += sum(operation.steps.filter(status=StepStatus.RUNNING).values_list("progress", flat=True))
    return done // operation.expected


def show_operation(operation: Operation) -> dict[str, Any]:
    """Render an operation with its steps, in the order of submission."""
    return show_summary(operation) | {"steps": [_show_step(step) for step in operation.steps.order_by("id")]}


def _show_step(step: Step) -> dict[str, Any]:
    return {
        "stepId": step.key,
        "action": step.action,
        "status": step.status,
        "data": step.subject if step.data is None else {**step.subject, **step.data},
        "error": step.error,
    }
