import logging

from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "apps.core"

    def ready(self) -> None:
        from apps.core import checks, health

        checks.register()
        health.report("redis", health.redis_answers)
        logging.captureWarnings(True)
