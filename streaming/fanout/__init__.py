"""Fan-out: from the topics of the bus to the clients that read them."""
