"""The worker's way to the database: accounts, commands, history and states."""
