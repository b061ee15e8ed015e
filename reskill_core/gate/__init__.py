"""The gate: the last code before a driver. It decides which commands reach a robot, and when it must stop.

Pure logic without clocks: every time is handed in, both the steady receive time [s], which no clock change
can touch, and stamps on the ROS clock [ns]. What it decides, the command node carries out.
"""

from reskill_core.gate.config import GateConfig
from reskill_core.gate.gate import Decision, Gate
from reskill_core.gate.states import GateError, GateState

__all__ = ["Decision", "Gate", "GateConfig", "GateError", "GateState"]
