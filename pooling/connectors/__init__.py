"""Opening of sockets: credentials, proxies, connect rates and circuit breakers."""
