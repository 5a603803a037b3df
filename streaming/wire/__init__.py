"""Wire formats and sockets of the bus: topics, messages, keys, addresses."""
