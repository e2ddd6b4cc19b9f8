"""Benchmarks: run from the repository's root, as in `python -m bench.quiet_pager`."""
