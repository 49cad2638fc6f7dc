"""The AsyncAPI document, as something to hold messages against."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

ROOT = Path(__file__).resolve().parents[2]


@cache
def document() -> dict[str, Any]:
    """Read the AsyncAPI document."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text())
    return loaded


def problems(name: str, message: Any) -> list[str]:
    """List what the document finds wrong with a message."""
    return [error.message for error in _validator(name).iter_errors(message)]


@cache
def _validator(name: str) -> Draft7Validator:
    return Draft7Validator({"$ref": f"#/components/schemas/{name}", "components": document()["components"]})
