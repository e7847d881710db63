"""Benchmarks: each measures the project beside a floor or a peer, in the same run, one after the other."""
