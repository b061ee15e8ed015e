"""ROS infrastructure shared by all nodes: conversions, QoS, parameters, lifecycle, process end."""
