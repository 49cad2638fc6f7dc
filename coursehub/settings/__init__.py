"""Django's settings for the API, the workers and the relay. Everything that varies comes from `environment`."""

import sys
from datetime import timedelta

from apps.core import logs
from coursehub import hosts
from coursehub.settings import environment as env

_SECOND, _MINUTE, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)

EMBEDDED = env.flag("COURSEHUB_EMBEDDED", False)
"""Whether ``make run`` started this on one machine; it brings secrets of its own and lets people register."""

SECRET_KEY, BROADCAST_SECRET, TICKET_SECRET, _DATABASE_URL, _ = env.required(
    "SECRET_KEY", "BROADCAST_SECRET", "TICKET_SECRET", "DATABASE_URL", "REDIS_URL"
)
REDIS_URL = env.url("REDIS_URL", "", "redis", "rediss", "unix", host=False)
DEBUG = False
HOST = hosts.in_url(env.text("HOST", "127.0.0.1"))
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CORS_ALLOWED_ORIGINS = env.origins(
    "CORS_ALLOWED_ORIGINS", "http://localhost:3000,http://localhost:5173,http://127.0.0.1:3000,http://127.0.0.1:5173"
)
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS", subdomains=True)
REGISTRATION = env.flag("REGISTRATION", EMBEDDED)
THROTTLE_USER_PER_MINUTE = env.per_minute("THROTTLE_USER", "600/min")
LOGINS_PER_MINUTE = env.per_minute("THROTTLE_LOGINS", "300/min")
FAILED_LOGINS_PER_MINUTE = env.per_minute("THROTTLE_FAILED_LOGINS", "10/min")

INSTALLED_APPS = [
    "apps.core",
    "apps.accounts",
    "apps.outbox",
    "apps.operations",
    "apps.uploads",
    "apps.courses",
    "apps.media",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "apps.core.middleware.RequestContext",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "apps.core.middleware.Bodies",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "coursehub.urls"
WSGI_APPLICATION = "coursehub.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024
CSRF_FAILURE_VIEW = "apps.core.rendering.csrf_failure"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.flag("SECURE_COOKIES", not EMBEDDED)
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
TRUST_PROXY = env.flag("TRUST_PROXY", False)
if TRUST_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# A connection stays with its thread: opening one costs ten times what a statement does.
DATABASES = {"default": env.database(_DATABASE_URL) | {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}}
if env.flag("DATABASE_PREPARE", True):
    # Planning was the largest part of PostgreSQL's work. Not for a pooler that changes connections in between.
    DATABASES["default"]["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 5}
# A server that went without a word, as at a failover, is taken for gone after half a minute, and not when the kernel
# thinks so. What DATABASE_URL says of it counts.
_FOUND_OUT = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
DATABASES["default"]["OPTIONS"] = _FOUND_OUT | DATABASES["default"]["OPTIONS"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["apps.accounts.backends.LimitedBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

CORS_EXPOSE_HEADERS = [
    *("Operation-Location", "Location", "Retry-After", "X-Request-ID"),
    *("Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm"),
    *("Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Expires", "Upload-Concat"),
    *("CourseHub-Upload-Id", "CourseHub-Video-Id", "CourseHub-Media-Id", "CourseHub-Operation-Id"),
]
CORS_ALLOW_HEADERS = [
    *("accept", "authorization", "content-type", "x-csrftoken", "x-requested-with", "x-request-id"),
    *("operation-id", "operation-expect", "idempotency-key"),
    *("tus-resumable", "upload-length", "upload-defer-length", "upload-offset", "upload-metadata", "upload-checksum"),
    *("upload-concat", "x-http-method-override"),
]
CORS_ALLOW_CREDENTIALS = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.accounts.authentication.BearerAuthentication",
        "apps.accounts.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "apps.core.negotiation.FirstOtherwise",
    "DEFAULT_PARSER_CLASSES": ["apps.core.bodies.LeftToView"],
    "DEFAULT_THROTTLE_CLASSES": ["apps.core.throttling.PerUser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    # Whose address counts: the last one in X-Forwarded-For, which the proxy itself has added, or the connection's own.
    "NUM_PROXIES": int(TRUST_PROXY),
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS is for CORS, which is answered before; the schema describes the rest
    "EXCEPTION_HANDLER": "apps.core.rendering.handle_exception",
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": env.lasting("ACCESS_TOKEN_MINUTES", 30, _MINUTE) * _MINUTE,
    "REFRESH_TOKEN_LIFETIME": env.lasting("REFRESH_TOKEN_DAYS", 14, _DAY) * _DAY,
    "UPDATE_LAST_LOGIN": False,
    "CHECK_REVOKE_TOKEN": True,  # tokens carry a digest of the password: a new one ends them
}
SPECTACULAR_SETTINGS = {
    "TITLE": "CourseHub",
    "DESCRIPTION": "Courses, chapters and videos over REST; every mutation answers at once and ends in an event.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True, "validatorUrl": None},
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": [],
    "DEFAULT_GENERATOR_CLASS": "apps.core.documentation.Generator",
    "PATH_CONVERTER_OVERRIDES": {"id": {"type": "string", "format": "uuid"}},
}

# Celery carries hints. A lost one is found by the relay, so nothing is gained by waiting for the broker.
CELERY_BROKER_URL = env.url(
    "CELERY_BROKER_URL", REDIS_URL, "redis", "rediss", "redis+socket", "amqp", "amqps", host=False
)
CELERY_BROKER_CONNECTION_TIMEOUT = 0.2
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Without these a client that finds the broker away sleeps two seconds and tries again, in the middle of a request.
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, float] = {
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
if CELERY_BROKER_URL.startswith("amqp"):
    HINT_TRANSPORT_OPTIONS = CELERY_BROKER_TRANSPORT_OPTIONS | {"read_timeout": 0.2, "write_timeout": 0.2}
else:
    HINT_TRANSPORT_OPTIONS = CELERY_BROKER_TRANSPORT_OPTIONS | {"socket_timeout": 0.2, "socket_connect_timeout": 0.2}
    CELERY_BROKER_TRANSPORT_OPTIONS |= {"socket_timeout": 5, "socket_connect_timeout": 0.2}
    # Otherwise each hint is written down in Redis before it is run and crossed out after it, which the step table does.
    CELERY_BROKER_TRANSPORT_OPTIONS |= {"ack_emulation": False}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "edit"
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
CELERY_WORKER_DISABLE_RATE_LIMITS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_DB_REUSE_MAX = 1_000_000  # otherwise Celery closes the connection after every task

_WEBSOCKET_PORT = env.port("WEBSOCKET_PORT", 8080)
BROADCAST_URL = env.url("BROADCAST_URL", f"http://127.0.0.1:{_WEBSOCKET_PORT}", "http", "https")
WEBSOCKET_PUBLIC_URL = env.url("WEBSOCKET_PUBLIC_URL", f"ws://{HOST}:{_WEBSOCKET_PORT}/ws/", "ws", "wss")

# No endpoint: Amazon's own. Clients may know storage by another name than we do.
S3_ENDPOINT_URL = env.url("S3_ENDPOINT_URL", "", "http", "https")
S3_PUBLIC_ENDPOINT_URL = env.url("S3_PUBLIC_ENDPOINT_URL", S3_ENDPOINT_URL, "http", "https")
S3_BUCKET = env.text("S3_BUCKET", "coursehub")
S3_REGION = env.text("S3_REGION", "us-east-1")
AWS_ACCESS_KEY_ID = env.text("AWS_ACCESS_KEY_ID", "")
AWS_SECRET_ACCESS_KEY = env.text("AWS_SECRET_ACCESS_KEY", "")

OPERATION_IDLE_SECONDS = env.lasting("OPERATION_IDLE_SECONDS", 600, _SECOND, least=1)
OPERATION_KEPT_DAYS = env.lasting("OPERATION_KEPT_DAYS", 30, _DAY)
EVENT_KEPT_DAYS = env.lasting("EVENT_KEPT_DAYS", 30, _DAY)
WAITERS_MAX = env.number("WAITERS_MAX", 8)
MEDIA_TRASH_DAYS = env.lasting("MEDIA_TRASH_DAYS", 30, _DAY)

_CATEGORIES = ("video", "image", "document", "other")
VIDEO_CATEGORIES = env.items("VIDEO_CATEGORIES", "video", among=_CATEGORIES)
MEDIA_CATEGORIES = env.items("MEDIA_CATEGORIES", ",".join(_CATEGORIES), among=_CATEGORIES)
_FILMS = ("video/mp4", "video/quicktime", "video/webm", "video/x-matroska")
_SOUNDS = ("audio/mp4", "audio/quicktime", "audio/webm", "audio/x-matroska")
_USUAL = (*_FILMS, "image/jpeg", "image/png", "image/gif", "image/webp", "application/pdf")
UPLOAD_TYPES = env.items("UPLOAD_TYPES", ",".join(_USUAL), among=(*_USUAL, *_SOUNDS))
IMAGE_MAX_BYTES = env.number("IMAGE_MAX_MIB", 64) * 1024**2
IMAGE_MAX_PIXELS = env.number("IMAGE_MAX_MEGAPIXELS", 100) * 1_000_000
DOCUMENT_MAX_BYTES = env.number("DOCUMENT_MAX_MIB", 256) * 1024**2
UPLOAD_MAX_BYTES = env.number("UPLOAD_MAX_BYTES", 50 * 1024**3)
UPLOAD_QUOTA_BYTES = env.number("UPLOAD_QUOTA_BYTES", 0)
UPLOADS_OPEN_MAX = env.number("UPLOADS_OPEN_MAX", 100)
UPLOADS_AT_ONCE = max(1, env.number("UPLOADS_AT_ONCE", 8))
UPLOAD_PART_BYTES = env.number("UPLOAD_PART_MIB", 8) * 1024**2
UPLOAD_IDLE_SECONDS = env.lasting("UPLOAD_IDLE_SECONDS", 24 * 3600, _SECOND, least=1)
UPLOAD_SPOOL_DIR = env.directory("UPLOAD_SPOOL_DIR")
UPLOAD_HASHED_MAX_BYTES = env.number("UPLOAD_HASHED_MAX_MIB", 64) * 1024**2
RELAY_INTERVAL_MS = env.number("RELAY_INTERVAL_MS", 500, least=1)

# What any other command prints is for whoever ran it; its logs go beside that.
_PRINTS = sys.argv[0].endswith("manage.py") and sys.argv[1:2] != ["relay"]
LOGGING = logs.config(env.one_of("LOG_LEVEL", "INFO", logs.LEVELS), stream="stderr" if _PRINTS else "stdout")
