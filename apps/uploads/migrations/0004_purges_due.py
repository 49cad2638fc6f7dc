from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('uploads', '0003_missing_since'),
    ]

    operations = [
        migrations.RenameField(
            model_name='purge',
            old_name='created_at',
            new_name='due_at',
        ),
    ]
