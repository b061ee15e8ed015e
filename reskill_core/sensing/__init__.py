"""Conversion of single sensor messages to observations: synchronisation of readings into ticks."""

from reskill_core.sensing.config import JointSource, MessageError, SensingConfig
from reskill_core.sensing.sensing import Sensing, named
from reskill_core.sensing.ticks import EpisodeStep, Tick

__all__ = ["EpisodeStep", "JointSource", "MessageError", "Sensing", "SensingConfig", "Tick", "named"]
