"""Skill models: closed-loop skill VAE and state-conditioned priors (torch), and the features both run on (numpy).

Importing this package does not import torch; only its torch modules do, which training and encoding use.
"""
