from django.apps import AppConfig


class UploadsConfig(AppConfig):
    name = "apps.uploads"

    def ready(self) -> None:
        from apps.core import bodies
        from apps.uploads import chores
        from apps.uploads.tus.views import PATH

        bodies.leave_to_view(PATH)
        chores.register()
