"""The kitchen family: a Franka arm in front of a microwave, a kettle, burners, a light and cabinets."""
