"""Benchmarks: us and the peers in one run, on the same data, rounds interleaved; medians and ratios. See `bench/run --help`."""
