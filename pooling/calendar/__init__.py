"""Trading days of Indian markets: the week, and what was entered that differs from it."""
