"""Composition: settings, URLs, the WSGI application and Celery. Nothing imports this but what starts a process."""

from coursehub.celery import app as celery_app

__all__ = ["celery_app"]
