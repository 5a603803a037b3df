"""The clients' protocol: requests, replies, and what one client holds. Pure."""
