"""Skills from demonstrations to control rate: specs, data, models, training, skill policy and gate.

Nothing in this package imports ROS or a simulator (its command line alone may import ``reskill_sim``).
"""
