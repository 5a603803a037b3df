"""Logins at brokers, as the worker does them: exchange, proof, storing, and the daily ones.

``states`` are the words of an attempt, ``schedule`` decides when an unattended one is due (both
pure), ``driver`` asks a broker, ``desk`` takes what waits. What differs between brokers is in
``brokers/<name>/login.py``, where attempts are kept is ``pooling/store/logins.py``.
"""
