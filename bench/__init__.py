"""Benchmarks: what automator costs, against the limit measured in the same run. See README.md."""
