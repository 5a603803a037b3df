"""Django signals of this app, for code of one's own.

``pool_state_changed`` is sent by the worker when a pool's state has changed for longer than
``ALERT_HOLD_SECONDS``, with the keyword ``alert``, a ``pooling.alerts.message.Alert``. Receivers
run one after the other in a thread of their own, so they may use the ORM and may be slow; what they
raise is logged and disturbs nobody. Connect them in ``AppConfig.ready``.
"""

from __future__ import annotations

from django.dispatch import Signal

__all__ = ["pool_state_changed"]

pool_state_changed = Signal()
