"""The whole system as one foreground command, for a first look and for development.

``policy`` decides, ``supervisor`` acts; ``installation`` prepares the database, ``announcement``
says what to open, ``guarded`` is what every child is started through.
"""
