"""One pooled HTTP client for everything that is asked of brokers outside of their sockets.

``policy`` decides (pure), ``pool`` acts on httpx2, ``body`` is where answers go. A pool belongs to
one event loop; nothing outside this package sees an httpx2 type or exception.
"""
