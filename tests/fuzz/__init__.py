"""Frames that are almost right: what brokers' codecs must refuse or read, and never trip over.

``python -m tests.fuzz [BROKER…] [--cases N]`` (``make fuzz``) runs as many cases as one likes; the
tests run few. A broker joins by a module of its own in ``targets``.
"""
