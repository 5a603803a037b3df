"""``manage.py pool doctor``: what is wrong with this installation, and what mends it."""
