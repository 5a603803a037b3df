"""Parts of the account's form: credentials, limits and the broker's settings."""
