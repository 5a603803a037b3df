"""The database as people run it: restarted, behind a pooler, away."""
