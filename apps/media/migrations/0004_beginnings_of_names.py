"""
Searches for words that many names begin with: of their beginnings, and of all that follows the first letter.

Names are ordered by code points, whatever the database's own order, so that those with one beginning lie together.
"""

import django.contrib.postgres.indexes
import django.db.models.functions.comparison
import django.db.models.functions.text
from django.conf import settings
from django.db import migrations, models

STATISTICS = """
    ALTER INDEX media_by_name ALTER COLUMN 3 SET STATISTICS 1000;
    ALTER INDEX media_name_trigrams ALTER COLUMN 1 SET STATISTICS 1000;
    ANALYZE media_media;
"""


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("media", "0003_at_size"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="media", name="media_by_name"),
        migrations.RemoveIndex(model_name="media", name="media_name_trigrams"),
        migrations.AddIndex(
            model_name="media",
            index=models.Index(
                models.F("owner"),
                models.F("trashed"),
                django.db.models.functions.comparison.Collate(django.db.models.functions.text.Lower("name"), "C"),
                models.F("id"),
                name="media_by_name",
            ),
        ),
        migrations.AddIndex(
            model_name="media",
            index=django.contrib.postgres.indexes.GinIndex(
                django.contrib.postgres.indexes.OpClass(
                    django.db.models.functions.text.Substr(django.db.models.functions.text.Lower("name"), 2),
                    name="gin_trgm_ops",
                ),
                name="media_name_trigrams",
                gin_pending_list_limit=1024,
            ),
        ),
        migrations.RunSQL(STATISTICS, migrations.RunSQL.noop),
    ]
