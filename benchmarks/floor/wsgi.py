"""The floor's WSGI application."""

import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = (
    "benchmarks.floor.settings"  # whatever the environment says: we are not CourseHub
)

application = get_wsgi_application()
