"""Make a user, or give an existing one a new password."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.accounts.models import User


class Command(BaseCommand):
    help = "Make sure that a user with this name, address and password exists."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--email", default="")
        parser.add_argument("--superuser", action="store_true", help="may use the admin, and do everything there")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--password-env", metavar="NAME", help="read the password from this variable")
        source.add_argument("--password-stdin", action="store_true", help="read the password from standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        password = _password(options)
        if not password:
            raise CommandError("The password is empty.")
        user, made = User.objects.get_or_create(username=options["username"], defaults={"email": options["email"]})
        user.set_password(password)
        user.is_staff = user.is_superuser = options["superuser"] or user.is_superuser
        user.save()
        self.stdout.write(f"{'Made' if made else 'Updated'} {user.username}.")


def _password(options: dict[str, Any]) -> str:
    if options["password_stdin"]:
        return sys.stdin.readline().rstrip("\n")
    return os.environ.get(options["password_env"], "")
