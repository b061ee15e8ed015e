"""Random seeds and streams, kept apart so that training, checkpoint selection and evaluation never share episodes.

**Episodes** have an integer seed below 2^53, which is stored in data sets, messages and the simulator's state.
Everything random in an episode follows from it (:func:`episode_rng`). The seed's range tells the episode's purpose:

==============================  =============================================================================
seeds                           episodes
==============================  =============================================================================
0 to 999 999 999                demonstrations, collected or recorded, and episodes started by hand
1 000 000 000 to 2^32 - 1       reported evaluations: always the first ones, in order
2^50 to 2^51 - 1                training of agents
2^51 to 2^51 + 2^50 - 1         selection of a run's best checkpoint
2^51 + 2^50 to 2^52 - 1         Gymnasium environments reset without a seed
==============================  =============================================================================

**Training runs** have a seed of up to 64 bits, chosen by the user. Everything random in a run, except in its episodes,
comes from a ``numpy.random.SeedSequence`` of the run's seed whose spawn key is the purpose and part (:func:`run_rng`).
Sequences with a spawn key differ from those without, so runs and episodes share no random numbers. The run's seed also
determines its first episode within the range of the purpose (:func:`first_episode`); the others count up. So episodes
are distinct within a run, and never shared between purposes. The probability that any two of a thousand runs with a
million episodes each share some is two in a thousand.

Two uses keep plain numpy seeds, because existing models and results refer to them: splits of a data set (``reskill data
split --seed``), and the models that a variation draws from (friction, mass and size of model number n are the same for
every purpose).
"""

from __future__ import annotations

import numpy as np

from reskill_core.errors import ConfigError

# Version of the rules above. A run is resumed only with the version it was started with.
SEEDING = 2

# Random streams of an episode. The index of an entry matters: append new ones.
STREAMS = (
    "reset",
    "demonstrator",
    "policy",
    "world",
    "delay",
    "perception",
    "speed",
    "lag",
    "nominal",
    "fingers",
    "speed_limit",
    "force_limit",
    "lateness",
    "overshoot",
    "unsteadiness",
    "bias",
)

# Random streams of a run. The index of an entry matters: append new ones.
PURPOSES = (
    "training",
    "selection",
    "exploration",
    "high_level",
    "low_level",
    "skill_weights",
    "window_order",
    "posterior_noise",
    "validation_noise",
    "bootstrap",
    "features",
    "estimator_weights",
    "estimator_batches",
)

# First entry of spawn keys.
_EPISODE, _RUN = 0, 1

EVALUATION_SEED = 1_000_000_000
_BLOCK = 2**50
EPISODES = {
    "demonstrations": range(EVALUATION_SEED),
    "reported evaluations": range(EVALUATION_SEED, 2**32),
    "training": range(_BLOCK, 2 * _BLOCK),
    "selection": range(2 * _BLOCK, 3 * _BLOCK),
    "gymnasium": range(3 * _BLOCK, 4 * _BLOCK),
}
# The largest integer that the simulator's float64 state holds exactly.
MAX_EPISODE_SEED = 2**53 - 1


def episode_rng(seed: int, stream: str) -> np.random.Generator:
    """Return the generator of one of ``STREAMS`` for the episode with this seed.

    An episode's start, its demonstrator's noise and its policy's samples depend only on its seed, not on the process,
    batch or node that draws them.
    """
    number = STREAMS.index(stream)
    if seed < 2**32:
        return np.random.default_rng(np.random.SeedSequence([seed, number]))
    # In one list with a seed of two words, the stream's number could be confused with a part of another seed.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_EPISODE, number)))


def run_sequence(run: int, purpose: str, *part: int) -> np.random.SeedSequence:
    """Return the seed sequence of a run for one of ``PURPOSES``.

    Args:
        run: seed of the run.
        purpose: one of ``PURPOSES``.
        part: index of an independent stream of that purpose, if it has several.

    Raises:
        ConfigError: the run's seed is negative or has more than 64 bits.
    """
    if not 0 <= run < 2**64:
        raise ConfigError(f"the seed of a run is an integer from 0 to 2^64 - 1, got {run}")
    return np.random.SeedSequence(run, spawn_key=(_RUN, PURPOSES.index(purpose), *part))


def run_rng(run: int, purpose: str, *part: int) -> np.random.Generator:
    """Return a generator seeded by :func:`run_sequence`."""
    return np.random.default_rng(run_sequence(run, purpose, *part))


def run_integer(run: int, purpose: str, *part: int) -> int:
    """Return a 63-bit seed from :func:`run_sequence`, for generators other than numpy's."""
    return int(run_sequence(run, purpose, *part).generate_state(1, np.uint64)[0] >> 1)


def first_episode(run: int, purpose: str) -> int:
    """Return the seed of a run's first episode for ``training`` or ``selection``; the others count up from it.

    There is room for 2^49 episodes.
    """
    return EPISODES[purpose].start + run_integer(run, purpose) % (_BLOCK // 2)


def drawn_episode(rng: np.random.Generator) -> int:
    """Draw the seed of an episode of a Gymnasium environment that was reset without one."""
    episodes = EPISODES["gymnasium"]
    return int(rng.integers(episodes.start, episodes.stop))


def foreign_demonstrations(first: int, count: int, name: str) -> list[str]:
    """Check that all seeds are in the range of demonstrations; returns violations, for a message.

    Args:
        first: seed of the first episode; the others count up from it.
        count: number of episodes.
        name: name of the setting, for the message.
    """
    allowed, last = EPISODES["demonstrations"], first + max(count, 1) - 1
    if first in allowed and last in allowed:
        return []
    return [
        f"{name}: episodes are demonstrated with seeds from 0 to {allowed.stop - 1}, got {first} to {last}; "
        f"those from {EVALUATION_SEED} on are for evaluations, which start as nobody demonstrated"
    ]
