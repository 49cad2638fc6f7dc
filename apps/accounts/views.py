"""Signing in, registering, and tickets for the WebSocket."""

from django.conf import settings
from django.http import JsonResponse
from rest_framework.permissions import AllowAny
from rest_framework.request import Request

from apps.accounts import schemas, services, tickets, tokens
from apps.accounts.authentication import user_of
from apps.accounts.models import User
from apps.core import documentation, errors, throttling
from apps.core.api import ApiView, answer, json_body
from apps.core.schemas import parse


class OpenView(ApiView):
    """A view for those who are not signed in."""

    authentication_classes = []
    permission_classes = [AllowAny]


class TokenView(OpenView):
    """Sign in."""

    throttle_classes = (throttling.PerAddress,)  # a password costs half a second of CPU

    @documentation.answers(schemas.TokenData, body=schemas.Credentials, can_fail=(400, 401, 413, 415, 429))
    def post(self, request: Request) -> JsonResponse:
        """Exchange a name and password for tokens."""
        credentials = parse(schemas.Credentials, json_body(request))
        user = services.sign_in(request._request, username=credentials.username, password=credentials.password)
        return answer(tokens.issue(user))


class RefreshView(OpenView):
    """Stay signed in."""

    @documentation.answers(schemas.TokenData, body=schemas.Refresh, can_fail=(400, 401, 413, 415))
    def post(self, request: Request) -> JsonResponse:
        """Exchange a refresh token for new tokens."""
        return answer(tokens.renew(parse(schemas.Refresh, json_body(request)).refresh))


class RegisterView(OpenView):
    """Become a user, where registration is on."""

    throttle_classes = (throttling.PerAddress,)

    @documentation.answers(
        schemas.RegistrationData, body=schemas.Registration, status=201, can_fail=(400, 403, 413, 415, 429)
    )
    def post(self, request: Request) -> JsonResponse:
        """Register and be signed in."""
        if not settings.REGISTRATION:
            raise errors.PermissionDenied("Registration is closed.")
        wanted = parse(schemas.Registration, json_body(request))
        user = services.register(username=wanted.username, password=wanted.password, email=wanted.email)
        response = answer({**tokens.issue(user), "user": show_user(user)})
        response.status_code = 201
        return response


class MeView(ApiView):
    """Who am I."""

    @documentation.answers(schemas.UserData)
    def get(self, request: Request) -> JsonResponse:
        """Read the signed-in user."""
        return answer(show_user(user_of(request)))


class TicketView(ApiView):
    """Tickets for the WebSocket."""

    @documentation.answers(schemas.TicketData, body=schemas.TicketRequest, can_fail=(400, 404, 413, 415))
    def post(self, request: Request) -> JsonResponse:
        """Get a ticket for the user's own topic and those of up to 50 courses."""
        wanted = parse(schemas.TicketRequest, json_body(request))
        return answer(tickets.issue(user_of(request), course_ids=wanted.course_ids))


def show_user(user: User) -> dict[str, str]:
    """Render a user for themselves."""
    return {"id": str(user.pk), "username": user.username, "email": user.email}
