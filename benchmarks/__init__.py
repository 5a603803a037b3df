"""Benchmarks that anyone can run: ``make bench``.

Each scenario starts the real processes, pins the server to one core and everything else to the
other, warms up, measures several runs, and checks in the same run that every client got what it
should. CPU is read from the operating system's accounts of the server process. On a shared machine
trust the ratios to the reference servers of the same run, not the absolute numbers.
"""
