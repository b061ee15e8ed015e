"""Maze family: a planar base finds its way through mazes of unit cells."""
