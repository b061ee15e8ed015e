"""Variations: how far the world may be from the one a task describes, as data.

They measure how robust a policy is, and train it to be. What differs within an episode follows from the episode's
seed, and stands in the simulator's state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError
from reskill_core.parameters import parameter

Range = tuple[float, float]

# Where physics varies, episodes draw from at least so many compiled worlds: drawing one costs nothing, compiling one
# 10 ms and keeping it 2 MB.
POOL = 64
_MAX_DELAY = 10


@dataclass(frozen=True)
class Variation:
    """Ranges from which each episode draws how it differs; a single value is a range of no width.

    Friction, mass and size are drawn together, as one of ``POOL`` worlds or more.
    """

    friction: Range = parameter((1.0, 1.0), "factor on the sliding friction of every surface", low=0.01, high=10.0)
    mass: Range = parameter((1.0, 1.0), "factor on the mass of the manipulated object", low=0.01, high=100.0)
    size: Range = parameter((1.0, 1.0), "factor on the size of the manipulated object", low=0.5, high=1.6)
    spawn: float = parameter(1.0, "factor on how widely starts are spread", low=0.7, high=1.3)
    perception_noise: Range = parameter(
        (0.0, 0.0), "standard deviation of the noise on observed positions of objects [m]", low=0.0, high=0.1
    )
    perception_delay: tuple[int, int] = parameter(
        (0, 0), "age of what is observed of objects [control steps]", low=0, high=_MAX_DELAY
    )
    action_delay: tuple[int, int] = parameter(
        (0, 0), "time until an action takes effect [control steps]", low=0, high=_MAX_DELAY
    )

    def violations(self) -> list[str]:
        """Values out of range, and ranges the wrong way round."""
        ranges = {name: value for name, value in vars(self).items() if isinstance(value, tuple)}
        turned = [f"{name}: must be low:high, got {low}:{high}" for name, (low, high) in ranges.items() if low > high]
        return turned

    @property
    def has_many_worlds(self) -> bool:
        """Whether friction, mass or size differ from episode to episode."""
        return any(low != high for low, high in (self.friction, self.mass, self.size))

    @property
    def perceives_otherwise(self) -> bool:
        """Whether objects are seen late or with noise."""
        return self.perception_noise[1] > 0.0 or self.perception_delay[1] > 0

    def draw_world(self, number: int) -> World:
        """The world with this number; the same number is always the same world."""
        rng = np.random.default_rng([number, 1])
        return World(*(float(rng.uniform(*bounds)) for bounds in (self.friction, self.mass, self.size)))


@dataclass(frozen=True)
class World:
    """Factors on friction of every surface, and on mass and size of the manipulated object."""

    friction: float = 1.0
    mass: float = 1.0
    size: float = 1.0


NOMINAL = Variation()


def parse_variation(entries: Sequence[str]) -> Variation:
    """Variation from ``name=value`` and ``name=low:high`` entries, as people write them on a command line.

    Raises:
        ConfigError: an entry is malformed, unknown or out of range; every fault is listed.
    """
    document: dict[str, object] = {}
    for entry in entries:
        name, separator, text = entry.partition("=")
        try:
            bounds = [float(part) for part in text.split(":")]
        except ValueError:
            bounds = []
        if not separator or len(bounds) not in (1, 2):
            raise ConfigError(f"variation {entry!r} is not of the form name=value or name=low:high")
        document[name] = bounds[0] if name == "spawn" and len(bounds) == 1 else (bounds * 2)[:2]
    return config_from_dict(Variation, document, source="the variation")
