from django.urls import path

from apps.uploads import direct_views, views
from apps.uploads.tus import views as tus

_MULTIPART = "uploads/s3/multipart"

urlpatterns = [
    path("uploads/", views.UploadsView.as_view()),
    path("uploads/tus/", tus.CreationView.as_view()),
    path("uploads/tus/<id:upload_id>", tus.UploadView.as_view()),
    path("uploads/s3/params", direct_views.ParamsView.as_view()),
    path(_MULTIPART, direct_views.CreationView.as_view()),
    path(f"{_MULTIPART}/<id:upload_id>", direct_views.MultipartView.as_view()),
    path(f"{_MULTIPART}/<id:upload_id>/batch", direct_views.BatchView.as_view()),
    path(f"{_MULTIPART}/<id:upload_id>/parts", direct_views.PartsView.as_view()),
    path(f"{_MULTIPART}/<id:upload_id>/complete", direct_views.CompleteView.as_view()),
    path(f"{_MULTIPART}/<id:upload_id>/<int:number>", direct_views.SignView.as_view()),
    path("uploads/<id:upload_id>/", views.UploadView.as_view()),
    path("uploads/<id:upload_id>/retry/", views.RetryView.as_view()),
]
