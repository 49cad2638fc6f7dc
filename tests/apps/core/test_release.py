"""``manage.py release``: the tables always, the bucket where there is one; a bucket that is away stops nobody."""

from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from coursehub.stack import ports

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def migrated(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Remembers how the tables would be brought up to date; those of the tests are."""
    asked: list[dict[str, object]] = []

    def call(name: str, **options: object) -> None:
        if name == "migrate":
            asked.append(options)
        else:
            call_command(name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("apps.core.management.commands.release.call_command", call)
    return asked


@pytest.fixture
def no_keys(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Leave it to boto to find credentials; gives a file in which it looks."""
    settings.EMBEDDED, settings.S3_ENDPOINT_URL = False, ""
    settings.AWS_ACCESS_KEY_ID = settings.AWS_SECRET_ACCESS_KEY = ""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path / "credentials"


def test_without_an_object_store_it_says_what_is_missing(
    no_keys: Path, capsys: pytest.CaptureFixture[str], migrated: list[dict[str, object]]
) -> None:
    call_command("release")
    assert "There is no object store" in capsys.readouterr().err
    assert [options["interactive"] for options in migrated] == [False]


def test_a_store_that_is_away_is_named_and_stops_nothing(
    settings: Settings, capsys: pytest.CaptureFixture[str], migrated: list[dict[str, object]]
) -> None:
    settings.EMBEDDED, settings.S3_ENDPOINT_URL = False, f"http://127.0.0.1:{ports.free_port()}"
    settings.AWS_ACCESS_KEY_ID = settings.AWS_SECRET_ACCESS_KEY = "k"
    call_command("release")
    said = capsys.readouterr().err
    assert settings.S3_BUCKET in said and "cannot be used" in said
    assert len(migrated) == 1


def test_credentials_that_the_machine_has_by_itself_are_enough_to_try(
    no_keys: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_keys.write_text("[default]\naws_access_key_id = k\naws_secret_access_key = k\n")
    # In Amazon's place.
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{ports.free_port()}")
    call_command("release")
    said = capsys.readouterr().err
    assert f"{settings.S3_BUCKET} cannot be used" in said and "connect" in said


def test_the_embedded_store_has_made_its_own_bucket(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.EMBEDDED = True
    call_command("release")
    assert capsys.readouterr().err == ""
