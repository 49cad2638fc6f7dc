# One image for every part; docker-compose.yml and the Procfile say which command makes it which.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    WEBSOCKET_PORT=8080

RUN useradd --system --uid 10001 --home-dir /app coursehub
WORKDIR /app

# Before the code, so that a change to the code does not install everything again.
COPY requirements.txt constraints.txt ./
RUN pip install -r requirements.txt -c constraints.txt

COPY manage.py Procfile ./
COPY apps ./apps
COPY broadcast ./broadcast
COPY coursehub ./coursehub

USER coursehub
EXPOSE 8000 8080
CMD ["gunicorn", "-c", "coursehub/gunicorn.conf.py", "coursehub.wsgi:application"]
