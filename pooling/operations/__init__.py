"""What people do to pools and ask of them, apart from how they ask: command line, admin, API."""
