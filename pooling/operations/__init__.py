"""Acts and questions of people to pools, however they ask: command line, admin, API."""
