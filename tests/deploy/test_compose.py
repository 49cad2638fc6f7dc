"""
docker-compose.yml held against everything that it repeats: no engine runs here, so this is what keeps it true.

The Compose schema is the one that the package check-jsonschema carries (compose-spec, Apache-2.0).
"""

import os
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from broadcast import config
from broadcast.addresses import Origins
from coursehub.stack import procfile

PROJECT = procfile.PROJECT
COMPOSE = (PROJECT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
EXAMPLE = (PROJECT / ".env.example").read_text()
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DJANGO = ("api", "worker", "relay", "migrate")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([?-])([^}]*))?\}")
"""``${NAME:-default}`` and ``${NAME:?why}``."""


def example_names() -> dict[str, str]:
    return dict(line.split("=", 1) for line in EXAMPLE.splitlines() if re.match(r"[A-Z]", line))


def filled_in(service: str) -> dict[str, str]:
    """The environment of a service, with what .env has to say filled in."""
    given = {name: value or f"{name.lower()}0" for name, value in example_names().items()}
    given["WEBSOCKET_PUBLIC_URL"] = "wss://courses.example.com/ws/"
    for name in ("S3_PUBLIC_ENDPOINT_URL", "CORS_ALLOWED_ORIGINS", "CSRF_TRUSTED_ORIGINS"):
        given[name] = "https://courses.example.com"
    return {
        name: VARIABLE.sub(lambda found: given.get(found[1]) or found[3] or "", value)
        for name, value in SERVICES[service]["environment"].items()
    }


def test_it_follows_the_compose_schema() -> None:
    schema = resources.files("check_jsonschema.builtin_schemas.vendor").joinpath("compose-spec.json").read_text()
    jsonschema.validate(yaml.safe_load(COMPOSE), yaml.safe_load(schema))


def test_the_schema_would_notice_a_mistake() -> None:
    schema = resources.files("check_jsonschema.builtin_schemas.vendor").joinpath("compose-spec.json").read_text()
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        jsonschema.validate(yaml.safe_load(COMPOSE.replace("command:", "comand:")), yaml.safe_load(schema))


def test_every_line_of_the_procfile_is_a_service_with_the_same_command() -> None:
    commands = procfile.read()
    commands["migrate"] = commands.pop("release")
    assert {name: service["command"] for name, service in OURS.items()} == commands


def test_what_has_to_be_there_is_there() -> None:
    assert SERVICES.keys() >= {*OURS, "proxy", "postgres", "redis", "objects"}
    assert SERVICES["broadcast"]["deploy"]["replicas"] == 2
    assert int(image("postgres")[1].split("-")[0]) >= 15
    assert float(image("redis")[1].split("-")[0]) >= 7


def image(service: str) -> tuple[str, str]:
    name, _, tag = SERVICES[service]["image"].partition(":")
    return name, tag


@pytest.mark.parametrize("service", [name for name in SERVICES if name not in OURS])
def test_images_of_others_are_of_a_known_version(service: str) -> None:
    assert image(service)[1] not in ("", "latest")


@pytest.mark.parametrize("service", DJANGO)
def test_django_starts_with_what_its_services_are_given(service: str) -> None:
    """In a process of its own, with that environment and nothing else."""
    program = (
        "import django; django.setup(); from django.core import checks; print(checks.run_checks(tags=['security']))"
    )
    env = filled_in(service) | {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "coursehub.settings"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_broadcast_service_starts_with_what_it_is_given_and_gets_no_more() -> None:
    env = filled_in("broadcast")
    settings = config.load(env)
    assert (settings.host, settings.port) == ("0.0.0.0", 8080)  # noqa: S104
    assert env.keys().isdisjoint({"DATABASE_URL", "SECRET_KEY", "AWS_SECRET_ACCESS_KEY"})


def test_the_broadcast_service_believes_what_is_in_the_network_of_the_composition_and_nobody_else() -> None:
    (network,) = yaml.safe_load(COMPOSE)["networks"]["default"]["ipam"]["config"]
    (trusted,) = config.load(filled_in("broadcast")).trusted_proxies
    assert str(trusted) == VARIABLE.sub(lambda found: found[3], network["subnet"])
    proxy = str(trusted[5])
    origins = Origins([trusted])
    assert origins.of(proxy, "198.51.100.7") == "198.51.100.7"
    for beside in ("192.168.1.20", "10.0.0.20", "172.18.0.20"):
        assert origins.of(proxy, f"198.51.100.7, {beside}") == beside


def test_the_parts_agree_on_secrets_and_servers() -> None:
    shared = {"BROADCAST_SECRET", "TICKET_SECRET", "REDIS_URL"}
    assert all(filled_in("api")[name] == filled_in("broadcast")[name] for name in shared)
    assert all(filled_in(service) == filled_in("worker") for service in ("relay", "migrate"))
    assert filled_in("worker").items() <= filled_in("api").items()


@pytest.mark.parametrize(("service", "variable"), [("api", "PORT"), ("broadcast", "WEBSOCKET_PORT")])
def test_a_port_is_the_same_wherever_it_is_named(service: str, variable: str) -> None:
    found = SERVICES[service]
    port = found["environment"][variable]
    assert found["environment"]["HOST"] == "0.0.0.0"  # noqa: S104
    assert found["expose"] == [port]
    assert f"http://127.0.0.1:{port}/readyz" in found["healthcheck"]["test"][-1]
    assert f"{service}:{port};" in (PROJECT / "deploy" / "nginx.conf").read_text()
    assert port in (PROJECT / "Dockerfile").read_text().split("EXPOSE ")[1].splitlines()[0].split()


def test_urls_name_services_and_the_ports_they_have() -> None:
    env = filled_in("api")
    for variable in ("DATABASE_URL", "REDIS_URL", "BROADCAST_URL", "S3_ENDPOINT_URL"):
        host = re.search(r"(?://|@)([\w-]+):(\d+)", env[variable])
        assert host and host[1] in SERVICES
        known = SERVICES[host[1]].get("expose") or [{"postgres": "5432", "redis": "6379"}[host[1]]]
        assert host[2] in known


def test_the_database_is_the_one_that_is_made() -> None:
    made = SERVICES["postgres"]["environment"]
    url = SERVICES["api"]["environment"]["DATABASE_URL"]
    expected = f"postgresql://{made['POSTGRES_USER']}:{made['POSTGRES_PASSWORD']}@postgres:5432/{made['POSTGRES_DB']}"
    assert url == expected


def test_the_object_store_knows_the_one_that_uses_it() -> None:
    for theirs, ours in (("USER", "AWS_ACCESS_KEY_ID"), ("PASSWORD", "AWS_SECRET_ACCESS_KEY")):
        assert filled_in("objects")[f"MINIO_ROOT_{theirs}"] == filled_in("api")[ours]


def test_the_proxy_passes_the_bucket_on_to_the_object_store() -> None:
    proxy = (PROJECT / "deploy" / "nginx.conf").read_text()
    (location,) = re.findall(rf"location /{filled_in('api')['S3_BUCKET']}/ {{(.*?)}}", proxy, re.DOTALL)
    assert filled_in("api")["S3_ENDPOINT_URL"] == "http://objects:9000" and "set $objects objects:9000;" in location


def test_no_location_of_the_proxy_loses_the_headers_that_all_need() -> None:
    """A location with a header of its own inherits none: the API would not know under which name it was asked."""
    proxy = (PROJECT / "deploy" / "nginx.conf").read_text()
    server, *locations = re.split(r"^ {8}location ", proxy, flags=re.MULTILINE)
    assert "proxy_set_header Host $http_host;" in server
    assert not [location for location in locations if "proxy_set_header" in location]


def test_only_the_proxy_is_open_to_the_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]


def test_whatever_is_waited_for_says_when_it_is_ready() -> None:
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert SERVICES[name]["restart"] == "on-failure"


def test_no_secret_has_a_value_or_a_default() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"SECRET|PASSWORD|ACCESS_KEY|ROOT_USER", name):
                assert re.fullmatch(r"\$\{\w+:\?see \.env\.example\}", value), name
    assert not any(value for name, value in example_names().items() if re.search(r"SECRET|PASSWORD|KEY", name))


def test_env_example_has_just_the_variables_that_compose_asks_for() -> None:
    asked = {found[1] for found in VARIABLE.finditer(COMPOSE)}
    assert example_names().keys() == asked


def test_what_env_example_gives_is_the_default() -> None:
    defaults = {found[1]: found[3] for found in VARIABLE.finditer(COMPOSE) if found[2] == "-"}
    assert {name: value for name, value in example_names().items() if name in defaults} == defaults


def test_every_mounted_file_is_in_the_repository() -> None:
    named = yaml.safe_load(COMPOSE)["volumes"]
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in named or Path(PROJECT, source).exists()
