"""Faults under load, and refused memory: `make soak`. See __main__.py."""
