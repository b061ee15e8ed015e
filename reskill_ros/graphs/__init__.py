"""Which nodes make up a graph, and what starts them."""
