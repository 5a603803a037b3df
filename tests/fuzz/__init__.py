"""Frames that are almost right: what must be refused or read, and never trip anybody over.

``python -m tests.fuzz [NAME…] [--cases N] [--seed N]`` (``make fuzz``) runs as many cases as one
likes; the tests run few. A broker joins by a module of its own in ``targets``; the bus and the
control link are in ``bus``, the client edge, through real sockets, is in ``edge``.
"""
