"""Benchmarks of data loading, training and inference, as functions that return figures."""
