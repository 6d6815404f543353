"""Tests of the benchmarks that need no trained model."""
