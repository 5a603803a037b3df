"""One connection to a broker: kept open, alive, paced and counted."""
