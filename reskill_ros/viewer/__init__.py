"""Live view of a run: markers for RViz and Foxglove, and a page for machines without them."""
