"""Frames that are almost right: what brokers' codecs must refuse or read, and never trip over.

``python -m tests.fuzz BROKER… [--cases N]`` runs as many cases as one likes; the tests run few.
"""
