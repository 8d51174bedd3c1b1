"""Fuzzing, and the program's readings beside those of others."""
