"""Make and check the bucket."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.uploads.storage import NoCredentials, StorageAway, StorageRefused, bucket


class Command(BaseCommand):
    help = (
        "Make the bucket of S3_BUCKET where it is missing, check that it can be used, and where nobody has done so set "
        "its CORS (for CORS_ALLOWED_ORIGINS) and its lifecycle."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            was_made = bucket.ensure()
            settings_of_it = bucket.configure()
        except NoCredentials as error:
            raise CommandError("There is no object store: set S3_ENDPOINT_URL and AWS_*, and uploads work.") from error
        except (StorageAway, StorageRefused) as error:
            raise CommandError(f"{settings.S3_BUCKET} cannot be used: {error.__cause__ or error}") from error
        self.stdout.write(f"{settings.S3_BUCKET} {'was made and' if was_made else 'is there and'} can be used.")
        self.stdout.write(", ".join(f"{name}: {state}" for name, state in settings_of_it.items()))
