"""Keys of stored credentials: a public half that seals, and a private half for the worker alone."""
