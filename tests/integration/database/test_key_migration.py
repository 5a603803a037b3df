"""Keys that were made before keys had a scope and an end do what they did."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from streaming.models import ApiKey, hash_api_key
from streaming.scopes import READING

BEFORE = [("streaming", "0006_user_preferences")]


@pytest.fixture
def before(transactional_db: None) -> Iterator[MigrationExecutor]:
    executor = MigrationExecutor(connection)
    executor.migrate(BEFORE)
    yield executor
    executor.loader.build_graph()
    executor.migrate(executor.loader.graph.leaf_nodes())


def test_older_keys_read_as_before_and_have_no_end(before: MigrationExecutor) -> None:
    apps = before.loader.project_state(BEFORE).apps
    owner = apps.get_model("auth", "User").objects.create(username="asha", is_active=True)
    apps.get_model("streaming", "ApiKey").objects.create(
        user=owner, name="notebook", prefix="a-key", hash=hash_api_key("a-key-of-old")
    )
    before.loader.build_graph()
    before.migrate(before.loader.graph.leaf_nodes())
    key = ApiKey.objects.find("a-key-of-old")
    assert key is not None
    assert (key.scope, key.ends) == (READING, None)


@pytest.mark.django_db
def test_a_process_of_before_that_still_runs_makes_keys_that_read() -> None:
    """It names no column that it does not know: the database fills those."""
    loader = MigrationExecutor(connection).loader
    apps = loader.project_state(BEFORE).apps
    owner = apps.get_model("auth", "User").objects.create(username="asha", is_active=True)
    apps.get_model("streaming", "ApiKey").objects.create(
        user=owner, name="notebook", prefix="a-key", hash=hash_api_key("a-key-of-old")
    )
    key = ApiKey.objects.find("a-key-of-old")
    assert key is not None
    assert (key.scope, key.ends) == (READING, None)
