from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "apps.operations"

    def ready(self) -> None:
        from apps.core import health, metrics
        from apps.operations import chores, hints, selectors
        from apps.operations.checking import lane

        chores.register()
        lane.register()
        health.report("broker", hints.broker_answers)
        metrics.on_scrape(selectors.backlog_metrics)
