"""The pool of one broker account: its connections, its feed, its journal and its figures."""
