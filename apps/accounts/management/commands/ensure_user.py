"""Make a user, or give an existing one a new password, and address."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from apps.accounts.models import User


class Command(BaseCommand):
    help = "Make sure that a user with this name, address and password exists."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--email", default="", help="an existing user keeps theirs without this")
        parser.add_argument("--superuser", action="store_true", help="may use the admin, and do everything there")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--password-env", metavar="NAME", help="read the password from this variable")
        source.add_argument("--password-stdin", action="store_true", help="read the password from standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        password = _password(options)
        if not password:
            raise CommandError("The password is empty.")
        name = User.normalize_username(options["username"])
        user = User.objects.filter(username=name).first() or User(username=name)
        user.email = User.objects.normalize_email(options["email"]) or user.email
        if not user.check_password(password):  # setting it again would end what it began
            user.set_password(password)
        user.is_staff = user.is_superuser = options["superuser"] or user.is_superuser
        done = "Made" if user._state.adding else "Updated"
        try:
            user.full_clean()
        except ValidationError as error:
            said = [f"{field}: {' '.join(problems)}" for field, problems in error.message_dict.items()]
            raise CommandError("\n".join(said)) from None
        user.save()
        self.stdout.write(f"{done} {user.username}.")


def _password(options: dict[str, Any]) -> str:
    if options["password_stdin"]:
        return sys.stdin.readline().rstrip("\n")
    return os.environ.get(options["password_env"], "")
