from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('uploads', '0005_whole_uploads'),
    ]

    operations = [
        migrations.RemoveField(
            model_name='part',
            name='checksum',
        ),
    ]
