"""Times of brokers: market hours, ends of credentials, waits that were asked for. Pure."""
