from django.apps import AppConfig


class MediaConfig(AppConfig):
    name = "apps.media"

    def ready(self) -> None:
        from apps.courses import presence
        from apps.courses import sources as videos
        from apps.media import actions, bulk, chores, sources, targets, upload_target
        from apps.operations import lanes
        from apps.uploads import targets as uploads

        lanes.register(lanes.USER, actions.MediaLane())
        presence.register(targets.Usage())
        videos.register(sources.FromLibrary())
        bulk.register()
        uploads.register(upload_target.MediaTarget())
        chores.register()
