from django.urls import path

from apps.accounts import views

urlpatterns = [
    path("auth/token/", views.TokenView.as_view()),
    path("auth/token/refresh/", views.RefreshView.as_view()),
    path("auth/register/", views.RegisterView.as_view()),
    path("auth/me/", views.MeView.as_view()),
    path("realtime/tickets/", views.TicketView.as_view()),
]
