"""The status page: how every pool and gateway is now, live, and what pools did before."""
