"""The gateway process: its server, its routes, its consumers and their admission."""
