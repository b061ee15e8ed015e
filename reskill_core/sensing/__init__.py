"""From single sensor messages to observations: which readings belong together, and when they make a tick."""

from reskill_core.sensing.config import JointSource, MessageError, SensingConfig
from reskill_core.sensing.sensing import Sensing, named
from reskill_core.sensing.ticks import EpisodeStep, Tick

__all__ = ["EpisodeStep", "JointSource", "MessageError", "Sensing", "SensingConfig", "Tick", "named"]
