"""
Uploads: one pipeline for every file, whatever it is for.

What a file is for is a *target* (`targets.py`), registered by the app that owns it. Bytes come through the API (tus) or
go straight to storage (S3 multipart); either way an upload is a step of an operation that stays open until the file is
there, looked at and recorded.
"""
