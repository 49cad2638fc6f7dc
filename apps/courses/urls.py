from django.urls import path

from apps.courses import views

urlpatterns = [
    path("courses/", views.CoursesView.as_view()),
    path("courses/<id:course_id>/", views.CourseView.as_view()),
    path("courses/<id:course_id>/restore/", views.RestoreView.as_view()),
    path("courses/<id:course_id>/outline/", views.OutlineView.as_view()),
    path("courses/<id:course_id>/save/", views.SaveView.as_view()),
    path("courses/<id:course_id>/members/", views.MembersView.as_view()),
    path("courses/<id:course_id>/members/<id:user_id>/", views.MemberView.as_view()),
    path("courses/<id:course_id>/chapters/", views.ChaptersView.as_view()),
    path("courses/<id:course_id>/chapters/reorder/", views.ChapterReorderView.as_view()),
    path("chapters/<id:chapter_id>/", views.ChapterView.as_view()),
    path("chapters/<str:chapter_id>/videos/", views.VideosView.as_view()),
    path("chapters/<id:chapter_id>/videos/reorder/", views.VideoReorderView.as_view()),
    path("videos/<id:video_id>/", views.VideoView.as_view()),
    path("videos/<id:video_id>/playback/", views.PlaybackView.as_view()),
    path("videos/<id:video_id>/move/", views.MoveView.as_view()),
]
