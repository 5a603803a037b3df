"""Turns of requests: how many pages and logins are served at a time, and whose is next."""
