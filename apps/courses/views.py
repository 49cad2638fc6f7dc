"""Courses, chapters and videos over REST: parse, call one plan or selector, render."""

from typing import Annotated
from uuid import UUID

from django.http import JsonResponse
from pydantic import Field
from rest_framework.request import Request

from apps.accounts.authentication import user_of
from apps.core import documentation, errors
from apps.core.api import ApiView, answer
from apps.core.pagination import Page, paginate
from apps.courses import access, plans, saves, schemas, show, sources
from apps.courses.models import Membership
from apps.operations.api import MutationView, mutation
from apps.operations.schemas import Mutation
from apps.uploads import playback


class CoursePage(Page):
    """Which page of which courses."""

    deleted: Annotated[bool, Field(description="Only the deleted courses that one owns.")] = False


class CoursesView(MutationView):
    @documentation.answers(schemas.CourseData, page=True, query=CoursePage, can_fail=(400,), name="courses_list")
    def get(self, request: Request) -> JsonResponse:
        """List the courses one has access to, newest first."""
        page = self.query(CoursePage)
        rows = access.deleted_courses(user_of(request)) if page.deleted else access.readable_courses(user_of(request))
        return paginate(rows, page, show=show.course, key="course_id")

    @mutation(schemas.CourseIdData, body=schemas.CreateCourse)
    def post(self, request: Request) -> JsonResponse:
        """Create a course."""
        return self.mutate(request, schemas.CreateCourse, lambda body, _: plans.create_course(body))


class CourseView(MutationView):
    @documentation.answers(schemas.CourseData, can_fail=(404,))
    def get(self, request: Request, course_id: UUID) -> JsonResponse:
        """Read a course."""
        return answer(show.course(access.readable(user_of(request), course_id)))

    @mutation(schemas.CourseIdData, body=schemas.UpdateCourse, can_fail=(403, 404, 410))
    def patch(self, request: Request, course_id: UUID) -> JsonResponse:
        """Change a course's own fields."""
        return self.mutate(
            request, schemas.UpdateCourse, lambda body, _: plans.update_course(user_of(request), course_id, body)
        )

    @mutation(schemas.CourseIdData, body=schemas.Delete, can_fail=(403, 404, 410))
    def delete(self, request: Request, course_id: UUID) -> JsonResponse:
        """Delete a course, so that it can be restored."""
        return self.mutate(
            request, schemas.Delete, lambda body, _: plans.delete_course(user_of(request), course_id, body)
        )


class RestoreView(MutationView):
    @mutation(schemas.CourseIdData, can_fail=(403, 404))
    def post(self, request: Request, course_id: UUID) -> JsonResponse:
        """Restore a deleted course."""
        return self.mutate(request, Mutation, lambda *_: plans.restore_course(user_of(request), course_id))


class OutlineView(ApiView):
    @documentation.answers(schemas.OutlineData, can_fail=(404,))
    def get(self, request: Request, course_id: UUID) -> JsonResponse:
        """Read a whole course at one moment, with the seq of the last event it contains."""
        return answer(show.outline(user_of(request), course_id))


class MembersView(MutationView):
    @documentation.answers(schemas.MemberData, page=True, query=Page, can_fail=(400, 404))
    def get(self, request: Request, course_id: UUID) -> JsonResponse:
        """List a course's members, its owner first."""
        access.readable(user_of(request), course_id)
        rows = Membership.objects.filter(course=course_id).select_related("user")
        return paginate(rows, self.query(Page), show=show.member, newest_first=False)

    @mutation(schemas.MemberIdData, body=schemas.SetMember, can_fail=(403, 404, 410))
    def post(self, request: Request, course_id: UUID) -> JsonResponse:
        """Add a member, or give one another role."""
        return self.mutate(
            request, schemas.SetMember, lambda body, _: plans.set_member(user_of(request), course_id, body)
        )


class MemberView(MutationView):
    @mutation(schemas.MemberIdData, can_fail=(403, 404, 410))
    def delete(self, request: Request, course_id: UUID, user_id: UUID) -> JsonResponse:
        """Remove a member; members may remove themselves."""
        return self.mutate(request, Mutation, lambda *_: plans.remove_member(user_of(request), course_id, user_id))


class ChaptersView(MutationView):
    @mutation(schemas.ChapterIdData, body=schemas.CreateChapter, can_fail=(403, 404, 410))
    def post(self, request: Request, course_id: UUID) -> JsonResponse:
        """Add a chapter."""
        return self.mutate(
            request, schemas.CreateChapter, lambda body, _: plans.create_chapter(user_of(request), course_id, body)
        )


class ChapterReorderView(MutationView):
    @mutation(schemas.CourseIdData, body=schemas.ReorderChapters, can_fail=(403, 404, 410))
    def post(self, request: Request, course_id: UUID) -> JsonResponse:
        """Put a course's chapters into another order."""
        return self.mutate(
            request,
            schemas.ReorderChapters,
            lambda body, identity: plans.reorder_chapters(user_of(request), course_id, body, identity),
        )


class ChapterView(MutationView):
    @documentation.answers(schemas.ChapterData, can_fail=(404,))
    def get(self, request: Request, chapter_id: UUID) -> JsonResponse:
        """Read a chapter."""
        return answer(show.chapter(access.readable_chapter(user_of(request), chapter_id)))

    @mutation(schemas.ChapterIdData, body=schemas.UpdateChapter, can_fail=(403, 404, 410))
    def patch(self, request: Request, chapter_id: UUID) -> JsonResponse:
        """Rename a chapter."""
        return self.mutate(
            request, schemas.UpdateChapter, lambda body, _: plans.update_chapter(user_of(request), chapter_id, body)
        )

    @mutation(schemas.ChapterIdData, body=schemas.Delete, can_fail=(403, 404, 410))
    def delete(self, request: Request, chapter_id: UUID) -> JsonResponse:
        """Delete a chapter and its videos."""
        return self.mutate(
            request, schemas.Delete, lambda body, _: plans.delete_chapter(user_of(request), chapter_id, body)
        )


class VideosView(MutationView):
    @mutation(schemas.VideoIdData, body=schemas.CreateVideo, can_fail=(403, 404, 410))
    def post(self, request: Request, chapter_id: str) -> JsonResponse:
        """Add a video to a chapter."""
        return self.mutate(
            request,
            schemas.CreateVideo,
            lambda body, identity: plans.create_video(
                user_of(request), plans.resolve(user_of(request), identity, chapter_id), body
            ),
        )


class VideoReorderView(MutationView):
    @mutation(schemas.ChapterIdData, body=schemas.ReorderVideos, can_fail=(403, 404, 410))
    def post(self, request: Request, chapter_id: UUID) -> JsonResponse:
        """Put a chapter's videos into another order."""
        return self.mutate(
            request,
            schemas.ReorderVideos,
            lambda body, identity: plans.reorder_videos(user_of(request), chapter_id, body, identity),
        )


class VideoView(MutationView):
    @documentation.answers(schemas.VideoData, can_fail=(404,))
    def get(self, request: Request, video_id: UUID) -> JsonResponse:
        """Read a video."""
        video = access.readable_video(user_of(request), video_id)
        return answer(show.video(video, sources.of_videos([video_id]).get(video_id)))

    @mutation(schemas.VideoIdData, body=schemas.UpdateVideo, can_fail=(403, 404, 410))
    def patch(self, request: Request, video_id: UUID) -> JsonResponse:
        """Change a video's title or filename."""
        return self.mutate(
            request, schemas.UpdateVideo, lambda body, _: plans.update_video(user_of(request), video_id, body)
        )

    @mutation(schemas.VideoIdData, body=schemas.Delete, can_fail=(403, 404, 410))
    def delete(self, request: Request, video_id: UUID) -> JsonResponse:
        """Delete a video."""
        return self.mutate(
            request, schemas.Delete, lambda body, _: plans.delete_video(user_of(request), video_id, body)
        )


class PlaybackView(ApiView):
    @documentation.answers(schemas.PlaybackData, can_fail=(404, 409))
    def get(self, request: Request, video_id: UUID) -> JsonResponse:
        """Get a URL from which the video can be played, for at least as long as it lasts."""
        video = access.readable_video(user_of(request), video_id)
        file = sources.of_videos([video_id]).get(video_id) or video.file
        if file is None:
            raise errors.Conflict("This video has no file yet.", status=video.status)
        return answer(playback.of(file))


class MoveView(MutationView):
    @mutation(schemas.VideoIdData, body=schemas.MoveVideo, can_fail=(403, 404, 410))
    def post(self, request: Request, video_id: UUID) -> JsonResponse:
        """Move a video to a place in its course."""
        return self.mutate(
            request,
            schemas.MoveVideo,
            lambda body, identity: plans.move_video(user_of(request), video_id, body, identity),
        )


class SaveView(MutationView):
    @mutation(schemas.SaveData, body=schemas.Save, can_fail=(403, 404, 410))
    def post(self, request: Request, course_id: UUID) -> JsonResponse:
        """Make many changes to a course with one request."""
        return self.mutate(
            request, schemas.Save, lambda body, identity: saves.plan(user_of(request), course_id, body, identity)
        )
