from django.urls import path

from apps.outbox import views

urlpatterns = [path("topics/<str:topic>/events/", views.TopicEventsView.as_view())]
