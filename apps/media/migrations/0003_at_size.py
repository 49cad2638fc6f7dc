"""Indexes that a library of a million files needs, and statistics by which searches are planned."""

import datetime

import django.db.models.functions.comparison
from django.conf import settings
from django.db import migrations, models

NEVER = datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("media", "0002_kept_by_the_database"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="media",
            index=models.Index(
                *(models.F(name) for name in ("owner", "trashed", "category", "size", "id")),
                name="media_by_category_and_size",
            ),
        ),
        migrations.AddIndex(
            model_name="media",
            index=models.Index(
                models.F("owner"),
                models.F("trashed"),
                models.F("used"),
                django.db.models.functions.comparison.Coalesce("last_used_at", models.Value(NEVER)),
                models.F("id"),
                name="media_by_usedness_and_use",
            ),
        ),
        migrations.RunSQL(
            "ALTER INDEX media_by_name ALTER COLUMN 3 SET STATISTICS 1000",
            "ALTER INDEX media_by_name ALTER COLUMN 3 SET STATISTICS -1",
        ),
    ]
