"""Names in lower case as a column: an index of it is read without the table, with what is asked most beside names."""

import django.contrib.postgres.indexes
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

STATISTICS = """
    ALTER TABLE media_media ALTER COLUMN lower_name SET STATISTICS 1000;
    ALTER INDEX media_name_trigrams ALTER COLUMN 1 SET STATISTICS 1000;
    ANALYZE media_media;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("media", "0005_trash_leaves_indexes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="media",
            name="media_by_name",
        ),
        migrations.RemoveIndex(
            model_name="media",
            name="media_name_trigrams",
        ),
        migrations.AddField(
            model_name="media",
            name="lower_name",
            field=models.GeneratedField(
                db_persist=True,
                expression=django.db.models.functions.text.Lower("name"),
                output_field=models.TextField(db_collation="C"),
            ),
        ),
        migrations.AddIndex(
            model_name="media",
            index=models.Index(
                models.F("owner"),
                models.F("trashed"),
                models.F("lower_name"),
                models.F("id"),
                include=("category", "used"),
                name="media_by_name",
            ),
        ),
        migrations.AddIndex(
            model_name="media",
            index=django.contrib.postgres.indexes.GinIndex(
                django.contrib.postgres.indexes.OpClass(
                    django.db.models.functions.text.Substr("lower_name", 2), name="gin_trgm_ops"
                ),
                gin_pending_list_limit=128,
                name="media_name_trigrams",
            ),
        ),
        migrations.RunSQL(STATISTICS, migrations.RunSQL.noop),
    ]
