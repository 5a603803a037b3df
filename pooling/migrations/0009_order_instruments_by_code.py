"""Text that searches compare and sort is ordered by code points on PostgreSQL, too."""

from django.db import migrations, models

from pooling.models.instruments import CodeField


def tell_planner(apps, schema_editor):
    """A changed column has no statistics, and PostgreSQL makes none while its rows stay."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ANALYZE pooling_instrument, pooling_instrumentword")


class Migration(migrations.Migration):

    dependencies = [
        ('pooling', '0008_sort_stored_instruments'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='instrument',
            name='instrument_by_symbol',
        ),
        migrations.RemoveIndex(
            model_name='instrument',
            name='instrument_by_underlying',
        ),
        migrations.RemoveIndex(
            model_name='instrumentword',
            name='instrument_word',
        ),
        migrations.AlterField(
            model_name='instrument',
            name='exchange',
            field=CodeField(max_length=16),
        ),
        migrations.AlterField(
            model_name='instrument',
            name='symbol',
            field=CodeField(db_index=True, max_length=64),
        ),
        migrations.AlterField(
            model_name='instrument',
            name='underlying',
            field=CodeField(blank=True, default='', help_text='Of a future or an option.', max_length=64),
        ),
        migrations.AlterField(
            model_name='instrumentword',
            name='word',
            field=CodeField(max_length=64),
        ),
        migrations.AddIndex(
            model_name='instrument',
            index=models.Index(fields=['broker', 'tier', 'symbol', 'expiry', 'strike', 'exchange'], name='instrument_by_symbol'),
        ),
        migrations.AddIndex(
            model_name='instrument',
            index=models.Index(fields=['broker', 'tier', 'underlying', 'expiry', 'strike', 'symbol', 'exchange'], name='instrument_by_underlying'),
        ),
        migrations.AddIndex(
            model_name='instrumentword',
            index=models.Index(fields=['broker', 'word', 'instrument'], name='instrument_word'),
        ),
        migrations.RunPython(tell_planner, migrations.RunPython.noop),
    ]
