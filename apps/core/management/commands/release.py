"""What a new version needs before its parts start."""

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = (
        "Bring the database's tables up to date, and see to the bucket. A bucket that cannot be used stops nothing: "
        "until it can, uploads are answered 503."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=options["verbosity"], stdout=self.stdout)
        if settings.EMBEDDED:
            return  # the embedded store has made its own
        try:
            call_command("ensure_bucket", stdout=self.stdout)
        except CommandError as error:
            self.stderr.write(str(error))
