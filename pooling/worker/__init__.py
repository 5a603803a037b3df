"""The worker: a pool for each account, kept in step with the database."""
