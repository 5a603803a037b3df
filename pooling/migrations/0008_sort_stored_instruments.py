from django.db import migrations

from pooling.instruments.words import name_words, underlying_of


def sort_stored(apps, schema_editor):
    """Give what is stored already what the next load would give it, so that it is found at once."""
    instruments = apps.get_model('pooling', 'Instrument').objects
    word_model = apps.get_model('pooling', 'InstrumentWord')
    instruments.filter(instrument_type='FUT').update(tier=1)
    instruments.filter(instrument_type__in=('CE', 'PE')).update(tier=2)
    part = []
    for instrument in instruments.filter(tier__in=(1, 2)).only('symbol').iterator():
        instrument.underlying = underlying_of(instrument.symbol)
        part.append(instrument)
        if len(part) == 500:
            instruments.bulk_update(part, ['underlying'])
            part = []
    instruments.bulk_update(part, ['underlying'])
    words = []
    for pk, broker, name in instruments.filter(tier=0).values_list('pk', 'broker', 'name'):
        words += [word_model(instrument_id=pk, broker=broker, word=word) for word in name_words(name)]
        if len(words) >= 500:
            word_model.objects.bulk_create(words)
            words = []
    word_model.objects.bulk_create(words)


class Migration(migrations.Migration):

    dependencies = [
        ('pooling', '0007_instrument_search'),
    ]

    operations = [
        migrations.RunPython(sort_stored, migrations.RunPython.noop, elidable=True),
    ]
