from django.apps import AppConfig


class MediaConfig(AppConfig):
    name = "apps.media"

    def ready(self) -> None:
        from apps.courses import presence
        from apps.media import actions, bulk, chores, targets
        from apps.operations import lanes

        lanes.register(lanes.USER, actions.MediaLane())
        presence.register(targets.Usage())
        bulk.register()
        chores.register()
