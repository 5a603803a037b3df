"""Alerts: people and programs are told when a pool's state changes for more than a moment.

The worker shows its pools' statistics once a second. ``debounce`` (pure) decides what is worth
telling, ``message`` (pure) puts it into words, ``webhook`` and ``email`` carry it, ``delivery``
retries, and ``service`` joins them. Nothing here ever holds up a pool: ``observe`` only appends to
a bounded queue, and everything else runs in tasks of its own.

A worker that is gone can tell nothing; ``deploy/prometheus/alerts.yml`` watches for that.
"""
