"""The benchmark: `make bench`. See __main__.py."""
