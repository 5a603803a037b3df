"""The local exchange as Angel One."""
