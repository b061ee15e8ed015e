"""Complete runs in the simulator: data collection, training, studies, reports, benchmarks."""
