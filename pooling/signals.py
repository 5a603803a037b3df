"""Django signals of this app, for code of one's own.

``pool_state_changed`` is sent by the worker when a pool's state has changed for longer than
``ALERT_HOLD_SECONDS``, with the keyword ``alert``, a ``pooling.alerts.message.Alert``. Receivers
run one after the other in a thread of their own, so they may use the ORM and may be slow; what they
raise is logged and disturbs nobody.

``worker_opened`` is sent once by a worker that has opened its pools, with the keyword ``worker``,
a ``pooling.worker.worker.PoolWorker`` whose ``pool(pool_id).acquire`` lends connections. Receivers
run on the worker's loop, where every tick waits for them: they start a task and return. What they
raise is logged and disturbs nobody; their tasks end with the worker.

Connect receivers in ``AppConfig.ready``.
"""

from __future__ import annotations

from django.dispatch import Signal

__all__ = ["pool_state_changed", "worker_opened"]

pool_state_changed = Signal()
worker_opened = Signal()
