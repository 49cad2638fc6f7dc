from django.apps import AppConfig


class UploadsConfig(AppConfig):
    name = "apps.uploads"

    def ready(self) -> None:
        from apps.core import bodies, metrics
        from apps.uploads import chores, purges
        from apps.uploads.tus.views import PATH

        bodies.leave_to_view(PATH)
        chores.register()
        purges.register()
        metrics.on_scrape(purges.backlog)
