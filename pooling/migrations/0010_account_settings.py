"""Accounts have settings of their broker."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('pooling', '0009_order_instruments_by_code'),
    ]

    operations = [
        migrations.AddField(
            model_name='brokeraccount',
            name='broker_settings',
            field=models.JSONField(blank=True, default=dict, editable=False, help_text="What differs from the defaults of the broker's settings, by name."),
        ),
    ]
