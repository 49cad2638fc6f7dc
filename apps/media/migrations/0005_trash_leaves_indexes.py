"""A file on its way to the trash leaves indexes that only the library is asked by, instead of moving in all of them."""

import datetime
import django.db.models.functions.comparison
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("media", "0004_beginnings_of_names"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="media",
            name="media_by_category",
        ),
        migrations.RemoveIndex(
            model_name="media",
            name="media_by_usedness",
        ),
        migrations.RemoveIndex(
            model_name="media",
            name="media_by_usedness_and_use",
        ),
        migrations.AddIndex(
            model_name="media",
            index=models.Index(models.F("owner"), models.F("trashed"), models.F("category"), models.F("created_at"), models.F("id"), condition=models.Q(("trashed", False)), name="media_by_category"),
        ),
        migrations.AddIndex(
            model_name="media",
            index=models.Index(models.F("owner"), models.F("trashed"), models.F("used"), models.F("created_at"), models.F("id"), condition=models.Q(("trashed", False)), name="media_by_usedness"),
        ),
        migrations.AddIndex(
            model_name="media",
            index=models.Index(models.F("owner"), models.F("trashed"), models.F("used"), django.db.models.functions.comparison.Coalesce("last_used_at", models.Value(datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc))), models.F("id"), condition=models.Q(("trashed", False)), name="media_by_usedness_and_use"),
        ),
    ]
