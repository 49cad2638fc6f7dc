"""The OpenAPI document as clients get it."""

import json
from typing import Any

import pytest
import yaml
from drf_spectacular.generators import SchemaGenerator

from apps.core import openapi
from apps.core.documentation import Generator
from tests.support.api import ApiClient

JSON, YAML = "/api/schema/?format=json", "/api/schema/?format=yaml"


@pytest.fixture
def nobody() -> ApiClient:
    return ApiClient(None)


def test_json_and_yaml_say_the_same(nobody: ApiClient) -> None:
    document = json.loads(nobody.get(JSON).body)

    assert document["openapi"] == "3.1.1" and "/api/v1/courses/" in document["paths"]
    assert yaml.safe_load(nobody.get(YAML).body) == document
    assert nobody.get("/api/schema/", Accept="application/yaml").body == nobody.get(YAML).body


def test_the_document_is_made_once(nobody: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    openapi._document.cache_clear()
    openapi._written.cache_clear()
    made = []

    def get_schema(self: SchemaGenerator, **how: Any) -> Any:
        made.append(self)
        return SchemaGenerator.get_schema(self, **how)

    monkeypatch.setattr(Generator, "get_schema", get_schema)
    for path in (JSON, YAML, JSON, YAML):
        assert nobody.get(path).status == 200

    assert len(made) == 1


def test_who_has_the_document_is_not_sent_it_again(nobody: ApiClient) -> None:
    has = nobody.get(JSON).headers["ETag"]
    again = nobody.get(JSON, If_None_Match=has)

    assert (again.status, again.body) == (304, b"")
    assert nobody.get(YAML, If_None_Match=has).status == 200


@pytest.mark.parametrize("query", ["version=%00", "version=%0d%0aX:1", "version=9", "lang=%00", "lang=de"])
def test_no_query_changes_the_document(nobody: ApiClient, query: str) -> None:
    plain, asked = nobody.get(JSON), nobody.get(f"{JSON}&{query}")

    assert asked.status == 200
    assert asked.headers["Content-Disposition"] == 'inline; filename="CourseHub.json"'
    assert asked.headers["ETag"] == plain.headers["ETag"]
    assert asked.body == plain.body
