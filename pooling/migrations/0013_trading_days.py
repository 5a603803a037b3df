"""Days on which markets differ from their week."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('pooling', '0012_logins'),
    ]

    operations = [
        migrations.CreateModel(
            name='TradingDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('market', models.CharField(choices=[('equity', 'equity'), ('currency', 'currency'), ('commodity', 'commodity')], max_length=16)),
                ('day', models.DateField()),
                ('opens', models.TimeField(blank=True, help_text='India time; empty: a holiday.', null=True)),
                ('closes', models.TimeField(blank=True, null=True)),
                ('note', models.CharField(blank=True, help_text='Such as the festival.', max_length=80)),
            ],
            options={
                'ordering': ('-day', 'market', 'opens'),
                'constraints': [models.UniqueConstraint(fields=('market', 'day', 'opens'), name='one_row_per_session_of_a_day'), models.UniqueConstraint(condition=models.Q(('opens__isnull', True)), fields=('market', 'day'), name='one_row_per_holiday')],
            },
        ),
    ]
