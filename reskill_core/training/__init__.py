"""Training runs of skill modules and agents."""
