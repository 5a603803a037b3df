"""The whole product for longer than any time-out: ``python -m tests.soak``, ``make soak``.

PostgreSQL behind PgBouncer, Redis, two gateways behind nginx, one worker and three local exchanges
with stamped prices serve clients of four kinds. A schedule of events goes over them; what clients
see, what processes use and what the logs say is judged at the end. ``docs/soak.md`` tells more.
"""
