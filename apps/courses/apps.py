from django.apps import AppConfig


class CoursesConfig(AppConfig):
    name = "apps.courses"

    def ready(self) -> None:
        from apps.accounts import audience
        from apps.courses import access, actions
        from apps.courses.upload_target import VideoTarget
        from apps.operations import lanes
        from apps.uploads import targets
        from broadcast.contracts import topics

        audience.register(topics.COURSE, access.courses_heard_by)
        lanes.register(lanes.COURSE, actions.CourseLane())
        targets.register(VideoTarget())
