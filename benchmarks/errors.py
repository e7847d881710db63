"""Errors of the benchmarks.

NextplayError
└── BenchmarkError        a benchmark could not be run to its end
    ├── UnknownBenchmark  a name that is not in the registry
    ├── BoundsExceeded    a load that is larger or longer than the generator takes
    └── NoResults         there is no earlier run to write docs/performance.md from
"""

from __future__ import annotations

from storage.errors import NextplayError


class BenchmarkError(NextplayError):
    code = "benchmark"


class UnknownBenchmark(BenchmarkError):
    status = 404
    code = "unknown-benchmark"


class BoundsExceeded(BenchmarkError):
    status = 422
    code = "bounds-exceeded"


class NoResults(BenchmarkError):
    status = 404
    code = "no-results"
