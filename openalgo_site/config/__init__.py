"""Configuration: the typed environment, secrets, logs, and checks of it all."""
