"""``manage.py pool``: what its subcommands take, do and print."""
