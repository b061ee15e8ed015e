"""Demo, benchmark of the control loop, and generator of the ROS reference page."""
