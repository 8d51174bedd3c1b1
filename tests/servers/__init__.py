"""The servers of `make run` and of the tests: one class each, started and waited for alike."""
