"""Batched simulator, independent of the robot: state rows, stepping, variation, divergence, rendering."""
