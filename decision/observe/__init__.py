"""Seeing inside a running service: metrics for Prometheus, OpenTelemetry traces, and a log without people."""
