"""The worker's end of the bus: the publisher and the control server."""
