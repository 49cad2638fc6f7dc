"""Bodies of requests and answers about users."""

from typing import Annotated

from pydantic import Field, StringConstraints

from apps.core.schemas import Body, Id, Text


class Credentials(Body):
    """A name and password."""

    username: Annotated[Text, StringConstraints(min_length=1, max_length=150)]
    password: Annotated[Text, StringConstraints(min_length=1, max_length=1000)]


class Registration(Credentials):
    """A new user."""

    email: Annotated[Text, StringConstraints(max_length=254)] = ""


class Refresh(Body):
    """A refresh token."""

    refresh: Annotated[Text, StringConstraints(min_length=1, max_length=4000)]


class TicketRequest(Body):
    """Which courses a ticket is wanted for, beside the user's own topic."""

    course_ids: Annotated[list[Id], Field(max_length=50)] = []


class UserData(Body):
    """A user as they see themselves."""

    id: Id
    username: str
    email: str


class TokenData(Body):
    """A pair of tokens; ``expiresAt`` is the access token's end."""

    access: str
    refresh: str
    expires_at: str


class RegistrationData(TokenData):
    """A new user's tokens."""

    user: UserData


class TicketData(Body):
    """What a client needs to open its WebSocket."""

    url: str
    ticket: str
    expires_at: str
    topics: list[str]
