"""Variations: ranges for the randomisation of physics, perception and latency, as data.

They are used to measure and to train the robustness of policies. An episode's values follow from its seed, and are part
of the simulator's state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.config import config_from_dict
from reskill_core.errors import ConfigError
from reskill_core.parameters import parameter
from reskill_core.seeding import episode_rng

Range = tuple[float, float]

# Minimum number of compiled models that episodes draw from if the physics varies: compiling one takes 10 ms and 2 MB,
# drawing one is free.
POOL = 64
_MAX_DELAY = 10
# Limit of force that is none.
UNLIMITED_N = 200.0
# Drawn anew in each episode, and nominal together: a nominal arm is so in all of that. Friction, mass and size are
# those of a compiled model.
_OF_EPISODES = (
    ("perception_noise",),
    ("perception_delay",),
    ("action_delay", "lateness"),
    ("speed", "speed_limit", "lag", "overshoot", "unsteadiness", "force_limit"),
    ("finger_start",),
    ("perception_bias",),
)


@dataclass(frozen=True)
class Variation:
    """Ranges from which each episode draws its values; a fixed value is a range of no width.

    Friction, mass and size are drawn together, as one of at least ``POOL`` compiled models.
    """

    friction: Range = parameter((1.0, 1.0), "factor on the sliding friction of every surface", low=0.01, high=10.0)
    mass: Range = parameter((1.0, 1.0), "factor on the mass of the manipulated object", low=0.01, high=100.0)
    size: Range = parameter((1.0, 1.0), "factor on the size of the manipulated object", low=0.5, high=1.6)
    spawn: float = parameter(1.0, "factor on how widely starts are spread", low=0.7, high=1.3)
    perception_noise: Range = parameter(
        (0.0, 0.0), "standard deviation of the noise on observed positions of objects [m]", low=0.0, high=0.1
    )
    perception_bias: Range = parameter(
        (0.0, 0.0),
        "constant error of the observed positions of all objects, in a random direction, as of a calibration [m]",
        low=0.0,
        high=0.1,
    )
    perception_delay: tuple[int, int] = parameter(
        (0, 0), "age of what is observed of objects [control steps]", low=0, high=_MAX_DELAY
    )
    action_delay: tuple[int, int] = parameter(
        (0, 0), "time until an action takes effect [control steps]", low=0, high=_MAX_DELAY
    )
    lateness: Range = parameter(
        (0.0, 0.0),
        "share of a control period by which actions take effect later still, as robots do not keep whole periods",
        low=0.0,
        high=1.0,
    )
    speed: Range = parameter(
        (1.0, 1.0),
        "factor on commanded velocities, except those of fingers, like the gate's speed_scale",
        low=0.01,
        high=1.0,
    )
    speed_limit: Range = parameter(
        (1.0, 1.0),
        "largest share of full speed that the arm reaches; a faster motion is slowed down as a whole, as by limits "
        "of joint velocities",
        low=0.01,
        high=1.0,
    )
    lag: Range = parameter(
        (0.0, 0.0),
        "time constant with which the arm follows commanded velocities, except those of fingers [s]",
        low=0.0,
        high=1.0,
    )
    overshoot: Range = parameter(
        (0.0, 0.0),
        "share by which the velocity of an arm that lags exceeds a changed command, as under position control",
        low=0.0,
        high=0.9,
    )
    unsteadiness: Range = parameter(
        (0.0, 0.0),
        "standard deviation of how far an arm is ahead or behind, as share of its motion in a control period",
        low=0.0,
        high=1.0,
    )
    force_limit: Range = parameter(
        (UNLIMITED_N, UNLIMITED_N),
        f"largest force of the arm on what is in its way or in its gripper [N]; {UNLIMITED_N:.0f} is no limit",
        low=1.0,
        high=UNLIMITED_N,
    )
    finger_start: Range = parameter(
        (0.0, 0.0), "position of the fingers at the start, 0 for a closed gripper [m]", low=0.0, high=0.1
    )
    nominal: float = parameter(
        0.0,
        "probability with which each of noise, bias, the two delays, the arm (speed, its limit, lag, overshoot, "
        "unsteadiness and force), and the fingers' start is nominal",
        low=0.0,
        high=1.0,
    )

    def violations(self) -> list[str]:
        """Check the order of the bounds."""
        ranges = self.ranges.items()
        return [f"{name}: must be low:high, got {low}:{high}" for name, (low, high) in ranges if low > high]

    @property
    def ranges(self) -> dict[str, Range]:
        """Ranges by name; everything but ``spawn``."""
        return {name: value for name, value in vars(self).items() if isinstance(value, tuple)}

    @property
    def spans(self) -> dict[str, Range]:
        """Spans of the ranges and their nominal values, by name, of the parameters that are not always nominal."""
        nominal = NOMINAL.ranges
        return {
            name: (min(low, nominal[name][0]), max(high, nominal[name][0]))
            for name, (low, high) in self.ranges.items()
            if (low, high) != nominal[name]
        }

    @property
    def has_many_worlds(self) -> bool:
        """Whether friction, mass or size vary between episodes."""
        return any(low != high for low, high in (self.friction, self.mass, self.size))

    @property
    def perceives_otherwise(self) -> bool:
        """Whether objects are perceived with delay, noise or bias."""
        return self.perceives_inexactly or self.perception_delay[1] > 0

    @property
    def perceives_inexactly(self) -> bool:
        """Whether objects are perceived with noise or bias."""
        return self.perception_noise[1] > 0.0 or self.perception_bias[1] > 0.0

    @property
    def limits_force(self) -> bool:
        """Whether the force of arms is limited."""
        return self.force_limit != NOMINAL.force_limit

    def scaled(self, strength: float) -> Variation:
        """Return the ranges at a strength from 0, nominal, to 1, as they are; bounds in between are interpolated.

        Bounds of delays are rounded. ``spawn`` does not change.
        """
        if strength == 1.0:
            return self
        nominal = NOMINAL.ranges
        scaled: dict[str, Any] = {
            name: tuple(_between(nominal[name][0], bound, strength) for bound in bounds)
            for name, bounds in self.ranges.items()
        }
        return replace(self, **scaled)

    def of_episode(self, seed: int, strength: float = 1.0) -> Variation:
        """Return the ranges of an episode: at its strength, and without those that are nominal in it."""
        scaled = self.scaled(strength)
        if not self.nominal:
            return scaled
        drawn = episode_rng(seed, "nominal").random(len(_OF_EPISODES))
        spared = [names for names, value in zip(_OF_EPISODES, drawn, strict=True) if value < self.nominal]
        return replace(scaled, **{name: getattr(NOMINAL, name) for names in spared for name in names})

    def normalised(self, values: Mapping[str, float]) -> Float64Array:
        """(W,) values of the parameters in :attr:`spans`, each mapped from its span to [-1, 1]."""
        spans = self.spans.items()
        return np.array([2 * (values[name] - low) / (high - low) - 1 for name, (low, high) in spans], np.float64)

    def draw_world(self, number: int) -> World:
        """Return the physics factors with this number; a number always gives the same factors."""
        rng = np.random.default_rng([number, 1])
        return World(*(float(rng.uniform(*bounds)) for bounds in (self.friction, self.mass, self.size)))


@dataclass(frozen=True)
class World:
    """Physics factors: on friction of every surface, and on mass and size of the manipulated object."""

    friction: float = 1.0
    mass: float = 1.0
    size: float = 1.0


NOMINAL = Variation()


def _between(nominal: float, bound: float, strength: float) -> float:
    value = nominal + strength * (bound - nominal)
    return math.floor(value + 0.5) if isinstance(nominal, int) else value


def parse_variation(entries: Sequence[str]) -> Variation:
    """Parse a variation from ``name=value`` and ``name=low:high`` entries of a command line.

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
        is_range = name in NOMINAL.ranges or len(bounds) == 2
        document[name] = (bounds * 2)[:2] if is_range else bounds[0]
    return config_from_dict(Variation, document, source="the variation")
