"""Kinematics of arms from their URDF or MJCF models, for real robots that are driven by their joints."""

from reskill_sim.kinematics.arm_model import ArmModel, load_arm
from reskill_sim.kinematics.differential_ik import DifferentialIk, JointMotion

__all__ = ["ArmModel", "DifferentialIk", "JointMotion", "load_arm"]
