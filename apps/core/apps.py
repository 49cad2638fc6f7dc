import logging

from django.apps import AppConfig
from django.urls import register_converter


class CoreConfig(AppConfig):
    name = "apps.core"

    def ready(self) -> None:
        from apps.core import checks, health, ids

        register_converter(ids.PathConverter, "id")
        checks.register()
        health.report("redis", health.redis_answers)
        logging.captureWarnings(True)
