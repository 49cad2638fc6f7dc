from django.urls import path

from apps.operations import views

urlpatterns = [
    path("operations/", views.OperationsView.as_view()),
    path("operations/<str:key>/", views.OperationView.as_view()),
    path("operations/<str:key>/retry/", views.RetryView.as_view()),
    path("operations/<str:key>/cancel/", views.CancelView.as_view()),
]
