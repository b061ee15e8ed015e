"""Training: skill modules from demonstrations."""
