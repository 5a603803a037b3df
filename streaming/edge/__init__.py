"""The edge: bounds on everything that a connection may send, before it is parsed."""
