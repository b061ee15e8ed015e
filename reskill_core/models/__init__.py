"""Skill models: closed-loop skill VAE and state-conditioned priors (torch), and the features both run on (numpy).

Importing this package loads no torch; its torch modules do, and are imported only by training and by encoding.
"""
