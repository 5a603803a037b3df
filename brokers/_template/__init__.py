"""A broker to copy: the smallest adapter that is whole. Its wire protocol is nobody's.

``docs/adding-a-broker.md`` says what to put in place of what, and in which order. It is not
registered, so no installation offers it; the adapters' contract is tested on it all the same.
"""
