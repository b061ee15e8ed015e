"""The demo, the ROS benchmark, and the reference page that is written from the code."""
