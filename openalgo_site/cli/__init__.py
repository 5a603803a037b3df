"""The command line: `manage.py` and the subcommands of `manage.py pool`."""
