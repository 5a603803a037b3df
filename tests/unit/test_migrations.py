"""What a migration may do to tables that processes of the version before still write.

Somebody who upgrades runs ``migrate`` while the old worker and gateways serve. They name the
columns that they know, so the database itself has to fill a new one.
"""

from __future__ import annotations

import pytest
from django.db import migrations
from django.db.migrations.loader import MigrationLoader
from django.db.models import NOT_PROVIDED

# By app, the last migration that was written before this was asked of them.
ASKED_SINCE = {"pooling": "0011_names_revision", "streaming": "0007_api_key_ends_and_scope"}


@pytest.mark.parametrize("app", ASKED_SINCE)
def test_a_new_column_is_filled_by_the_database_and_none_goes(app: str) -> None:
    loader = MigrationLoader(None)
    for (owner, name), migration in sorted(loader.disk_migrations.items()):
        if owner != app or name <= ASKED_SINCE[app]:
            continue
        for operation in migration.operations:
            where = f"{app}.{name}: {operation.describe()}"
            assert not isinstance(
                operation,
                migrations.RemoveField
                | migrations.RenameField
                | migrations.RenameModel
                | migrations.DeleteModel,
            ), f"{where}: a process of before would fail"
            if isinstance(operation, migrations.AddField):
                field = operation.field
                fills = field.null or field.db_default is not NOT_PROVIDED
                assert fills or field.many_to_many, f"{where}: it needs a db_default"
