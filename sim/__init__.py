"""The Fetch robot in MuJoCo: scenes, tasks, demonstrators, a batched simulator and rendering. No ROS."""
