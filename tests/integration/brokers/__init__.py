"""One contract that every broker's adapter keeps, in a pool over real sockets to its exchange.

A broker joins by a lab of its own (``<name>_lab.py``) in ``conftest.LABS``.
"""
