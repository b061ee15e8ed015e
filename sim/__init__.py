"""Simulated robots: environment families, batched simulator, evaluation and the ``reskill`` command. No ROS.

Importing this package registers the tasks with Gymnasium.
"""

import os
import sys

# Without a display MuJoCo renders with EGL; it reads this variable when it is imported.
if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    os.environ.setdefault("MUJOCO_GL", "egl")

from reskill_sim.gym.registration import register_envs

register_envs()
