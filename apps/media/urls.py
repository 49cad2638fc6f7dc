from django.urls import path

from apps.media import views

urlpatterns = [
    path("media/", views.LibraryView.as_view()),
    path("media/history/", views.HistoryView.as_view()),
    path("media/bulk/delete/", views.BulkDeleteView.as_view()),
    path("media/bulk/restore/", views.BulkRestoreView.as_view()),
    path("media/bulk/purge/", views.BulkPurgeView.as_view()),
    path("media/bulk/link/", views.BulkLinkView.as_view()),
    path("media/bulk/unlink/", views.BulkUnlinkView.as_view()),
    path("media/<id:media_id>/", views.MediaView.as_view()),
    path("media/<id:media_id>/deletion-impact/", views.ImpactView.as_view()),
    path("media/<id:media_id>/restore/", views.RestoreView.as_view()),
    path("media/<id:media_id>/purge/", views.PurgeView.as_view()),
    path("media/<id:media_id>/versions/", views.VersionsView.as_view()),
    path("media/<id:media_id>/versions/<int:number>/restore/", views.RevertView.as_view()),
    path("media/<id:media_id>/playback/", views.PlaybackView.as_view()),
    path("media/<id:media_id>/replace/", views.ReplaceView.as_view()),
    path("media/<str:media_id>/links/", views.MediaLinksView.as_view()),
    path("media/<id:media_id>/history/", views.MediaHistoryView.as_view()),
    path("media-links/", views.LinksView.as_view()),
    path("media-links/<id:link_id>/", views.LinkView.as_view()),
]
