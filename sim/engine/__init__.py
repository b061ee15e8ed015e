"""The batched simulator: rows, steps, variation, divergence, pictures. Knows no robot."""
