"""
Request bodies as pydantic models: strict types, camelCase outside, snake_case inside, unknown fields refused.

The same models make the OpenAPI document, so that what is documented is what is checked.
"""

from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

from apps.core import errors, ids


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)


def storable(text: str) -> str:
    """
    Refuse what is text to JSON but not to a database: NUL, and halves of surrogate pairs.

    Raises:
        PydanticCustomError: a ValueError that says which.
    """
    if "\x00" in text:
        raise PydanticCustomError("nul_character", "Text must not contain NUL characters")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise PydanticCustomError("lone_surrogate", "Text must not contain half a surrogate pair")
    return text


def _uuid(value: object) -> object:
    """Take a UUID in its canonical text only."""
    if isinstance(value, str):
        try:
            return ids.read(value)
        except ValueError:
            pass
    return value if isinstance(value, UUID) else str(value)


def _not_blank(value: object) -> object:
    """Refuse text that shows nothing."""
    if isinstance(value, str) and not value.strip():
        raise PydanticCustomError("blank", "Text must not be blank")
    return value


# A pattern, and no validator: lengths that are given to one of `Text` would count "items" behind it.
Text = Annotated[str, StringConstraints(pattern=r"^[^\u0000]*$")]
"""What a database can keep: no NUL characters. Halves of surrogate pairs are no text to pydantic."""
Title = Annotated[
    Text,
    StringConstraints(min_length=1, max_length=255, pattern=r"^[^\u0000]*[^\s\u0000][^\u0000]*$"),
    BeforeValidator(_not_blank),
]
Filename = Annotated[Text, StringConstraints(max_length=255)]
Id = Annotated[UUID, BeforeValidator(_uuid)]
TempId = Annotated[Text, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\u0000/]*$")]
"""Without slashes: it may stand in a path, for a chapter that is on its way."""
Reference = Annotated[Text, StringConstraints(min_length=1, max_length=128)]
"""An id, or the tempId of something that the same operation creates."""
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
"""What names an operation or a step."""
Position = Annotated[int, Field(ge=0, le=2**31 - 1)]
Version = Annotated[int, Field(ge=1, le=2**31 - 1)]

Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], raw: Any) -> Model:
    """
    Check parsed JSON against a model.

    Raises:
        errors.Invalid: it does not fit; ``fields`` maps each dotted path to what is wrong there.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise errors.Invalid("Some fields are not valid.", fields=_fields(error)) from None


def _fields(error: ValidationError, most: int = 50) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False)[:most]:
        fields.setdefault(_path(detail), []).append(detail["msg"])
    return fields


def _path(detail: ErrorDetails) -> str:
    parts = [str(part) for part in detail["loc"]]
    # A part with a dot or a bracket is not a field: it says what the validator took the value for. But a field that
    # nobody knows, always the last part, may be called anything.
    unknown = len(parts) - 1 if detail["type"] == "extra_forbidden" else None
    return ".".join(part for at, part in enumerate(parts) if at == unknown or not {".", "["} & {*part}) or "body"
