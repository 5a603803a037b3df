"""Logins of the local exchange: pages, token endpoints and profiles of five brokers.

``manage.py runsimulator`` serves them on ``SIMULATOR_LOGIN_PORT`` with the brokers' own paths: put
``http://127.0.0.1:9011`` in place of a broker's hosts. ``/`` there says who may log in, and shows
the present code of the second factor; ``docs/simulator.md`` has the verbs and the refusals. A
broker's part is ``brokers/simulator/<name>/login.py``.
"""
