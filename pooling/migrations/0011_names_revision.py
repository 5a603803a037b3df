"""Brokers' instruments have a revision, which workers look at."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('pooling', '0010_account_settings'),
    ]

    operations = [
        migrations.CreateModel(
            name='NamesRevision',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('broker', models.CharField(max_length=32, unique=True)),
                ('revision', models.PositiveBigIntegerField(default=0)),
                ('changed', models.DateTimeField()),
            ],
        ),
    ]
