"""Simulated robots: environment families, a batched simulator, evaluation and the ``reskill`` command. No ROS.

Importing it registers the tasks with Gymnasium.
"""

import os
import sys

# Without a display MuJoCo draws through EGL; it decides when it is imported, so this must come before.
if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    os.environ.setdefault("MUJOCO_GL", "egl")

from reskill_sim.gym.registration import register_envs

register_envs()
