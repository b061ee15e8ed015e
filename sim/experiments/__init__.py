"""Whole runs in the simulator: collecting, training, studies, reports, benchmarks."""
