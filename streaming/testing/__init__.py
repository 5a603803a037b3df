"""Shipped fakes of the client edge's surroundings."""
