"""My account: the API keys, password, sessions and choices of whoever is logged in.

Everything here is one's own, so no permission is asked; of anybody else's nothing is found.
"""
