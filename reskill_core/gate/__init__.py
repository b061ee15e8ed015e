"""Safety gate between policy and driver: decides which commands reach a robot, and when it must stop.

Pure logic without clocks: all times are arguments, both receive times on a steady clock [s], which is not affected by
clock changes, and stamps on the ROS clock [ns]. The command node executes the decisions.
"""

from reskill_core.gate.config import GateConfig
from reskill_core.gate.gate import Decision, Gate
from reskill_core.gate.states import GateError, GateState

__all__ = ["Decision", "Gate", "GateConfig", "GateError", "GateState"]
