from django.db import migrations

# An API that died at that moment left uploads with all their bytes to nobody. What is held is just being handed over.
HAND_OVER = """
    UPDATE uploads_upload SET status = 'processing'
    WHERE status = 'uploading' AND protocol = 'tus' AND NOT is_partial AND "offset" = declared_size AND tail_key = ''
    AND (lease_token IS NULL OR lease_expires_at < now())
"""


class Migration(migrations.Migration):

    dependencies = [
        ('uploads', '0004_purges_due'),
    ]

    operations = [
        migrations.RunSQL(HAND_OVER, migrations.RunSQL.noop),
    ]
