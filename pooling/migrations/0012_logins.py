"""Logins at brokers: what an account keeps for them, and every attempt."""

import datetime
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('pooling', '0011_names_revision'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name='poolcommand',
            name='source',
            field=models.CharField(choices=[('admin', 'admin'), ('command line', 'command line'), ('api', 'api'), ('page', 'page')], max_length=16),
        ),
        migrations.CreateModel(
            name='LoginSetup',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('browser', 'browser'), ('unattended', 'unattended'), ('long-lived', 'long-lived')], default='browser', max_length=16)),
                ('public', models.JSONField(blank=True, default=dict)),
                ('secrets', models.JSONField(blank=True, default=dict, editable=False)),
                ('endpoint', models.CharField(blank=True, help_text="URL in place of all of the broker's hosts, such as that of a local exchange.", max_length=255)),
                ('owner', models.CharField(blank=True, max_length=64)),
                ('unattended', models.BooleanField(default=False)),
                ('unattended_at', models.TimeField(default=datetime.time(8, 5))),
                ('stopped', models.CharField(blank=True, editable=False, max_length=500)),
                ('totp_counter', models.BigIntegerField(default=0, editable=False)),
                ('changed', models.DateTimeField(auto_now=True)),
                ('account', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='login', to='pooling.brokeraccount')),
            ],
            options={
                'verbose_name': 'broker login',
            },
        ),
        migrations.CreateModel(
            name='LoginAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('browser', 'browser'), ('unattended', 'unattended'), ('pasted', 'pasted'), ('long-lived', 'long-lived'), ('test', 'test')], max_length=16)),
                ('state', models.CharField(choices=[('preparing', 'preparing'), ('away', 'away'), ('exchanging', 'exchanging'), ('granted', 'granted'), ('refused', 'refused'), ('cancelled', 'cancelled'), ('late', 'late')], max_length=16)),
                ('state_hash', models.CharField(blank=True, editable=False, max_length=64)),
                ('session_hash', models.CharField(blank=True, editable=False, max_length=64)),
                ('redirect_uri', models.CharField(blank=True, max_length=255)),
                ('prepared', models.CharField(blank=True, editable=False, max_length=255)),
                ('sealed', models.JSONField(blank=True, default=dict, editable=False)),
                ('told_owner', models.CharField(blank=True, editable=False, max_length=64)),
                ('begun', models.DateTimeField(default=django.utils.timezone.now)),
                ('deadline', models.DateTimeField()),
                ('taken', models.DateTimeField(blank=True, null=True)),
                ('taken_by', models.CharField(blank=True, max_length=128)),
                ('finished', models.DateTimeField(blank=True, null=True)),
                ('why', models.CharField(blank=True, choices=[('second factor', 'second factor'), ('secret', 'secret'), ('code', 'code'), ('redirect', 'redirect'), ('owner', 'owner'), ('plan', 'plan'), ('declined', 'declined'), ('busy', 'busy'), ('down', 'down'), ('unreadable', 'unreadable')], max_length=16)),
                ('result', models.CharField(blank=True, help_text='How it ended, in a sentence.', max_length=500)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='login_attempts', to='pooling.brokeraccount')),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ('-id',),
                'indexes': [models.Index(fields=['account', '-id'], name='login_by_account'), models.Index(condition=models.Q(('state__in', ['preparing', 'exchanging'])), fields=['account'], name='login_waiting')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('state__in', ['preparing', 'away', 'exchanging'])), fields=('account',), name='one_open_login_per_account')],
            },
        ),
    ]
