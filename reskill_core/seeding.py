"""Which random numbers are drawn from where, so that what trains, what chooses and what reports never meet.

**Episodes** have an integer as seed, below 2^53: it stands in data sets, messages and the simulator's state. Everything
random in an episode follows from it (:func:`episode_rng`). What an episode is for follows from its seed, too:

==============================  =============================================================================
seeds                           episodes
==============================  =============================================================================
0 to 999 999 999                demonstrations, collected or recorded, and whatever is played by hand
1 000 000 000 to 2^32 - 1       reported evaluations: the same ones for all that is evaluated
2^50 to 2^51 - 1                those that an agent learns from
2^51 to 2^51 + 2^50 - 1         those that choose the best checkpoint of a run
2^51 + 2^50 to 2^52 - 1         those that a Gymnasium environment starts when it is given no seed
==============================  =============================================================================

**Runs** of training have a seed of any size up to 64 bits, which a user chooses. All that is random in a run but its
episodes comes from a ``numpy.random.SeedSequence`` of the run's seed with what it is for, and of which part, as spawn
key (:func:`run_rng`). A sequence with a spawn key is none without, so that a run draws nothing that an episode draws.
Of its episodes, the first has a place in the range of its purpose that follows from the run's seed in the same way
(:func:`first_episode`), and the others follow one by one: distinct within a run and from all other purposes by their
range. That any two of a thousand runs with a million episodes each share some is a matter of two in a thousand.

Two things keep numpy's plain seeds, since models and results of today name them: how a data set is divided
(``reskill data split --seed``), and which worlds there are to draw from (friction, mass and size of world number n are
the same for every purpose, as conditions are).
"""

from __future__ import annotations

import numpy as np

from reskill_core.errors import ConfigError

# Version of the rules above. A run is continued only by those that it was begun with.
SEEDING = 2

# What draws in an episode. An entry's place counts: new ones go to the end.
STREAMS = ("reset", "demonstrator", "policy", "world", "delay", "perception")

# What draws in a run. An entry's place counts: new ones go to the end.
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
# Exact in the simulator's state, which is an array of float64.
MAX_EPISODE_SEED = 2**53 - 1


def episode_rng(seed: int, stream: str) -> np.random.Generator:
    """Generator of one ``STREAMS`` entry for the episode with this seed.

    An episode's start, its demonstrator's noise and its policy's samples depend on its seed alone, not on which
    process, batch or node draws them.
    """
    number = STREAMS.index(stream)
    if seed < 2**32:
        return np.random.default_rng(np.random.SeedSequence([seed, number]))
    # Beside a seed of two words, the stream's number could be taken for a part of another seed.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_EPISODE, number)))


def run_sequence(run: int, purpose: str, *part: int) -> np.random.SeedSequence:
    """What everything in a run is drawn from that serves one of ``PURPOSES``.

    Args:
        run: seed of the run.
        purpose: what it is for.
        part: which of several independent streams of that purpose.

    Raises:
        ConfigError: the run's seed is negative or has more than 64 bits.
    """
    if not 0 <= run < 2**64:
        raise ConfigError(f"the seed of a run is an integer from 0 to 2^64 - 1, got {run}")
    return np.random.SeedSequence(run, spawn_key=(_RUN, PURPOSES.index(purpose), *part))


def run_rng(run: int, purpose: str, *part: int) -> np.random.Generator:
    """Generator of :func:`run_sequence`."""
    return np.random.default_rng(run_sequence(run, purpose, *part))


def run_integer(run: int, purpose: str, *part: int) -> int:
    """Seed of 63 bits of :func:`run_sequence`, for generators that are not numpy's."""
    return int(run_sequence(run, purpose, *part).generate_state(1, np.uint64)[0] >> 1)


def first_episode(run: int, purpose: str) -> int:
    """Seed of the first episode of a run for ``training`` or ``selection``; the following ones count up from it.

    It leaves room for 2^49 of them.
    """
    return EPISODES[purpose].start + run_integer(run, purpose) % (_BLOCK // 2)


def drawn_episode(rng: np.random.Generator) -> int:
    """Seed of an episode that a Gymnasium environment starts without being given one."""
    episodes = EPISODES["gymnasium"]
    return int(rng.integers(episodes.start, episodes.stop))


def foreign_demonstrations(first: int, count: int, name: str) -> list[str]:
    """What is wrong with demonstrating in episodes: nothing, where all of them are for that.

    Args:
        first: seed of the first one; the others follow one by one.
        count: how many.
        name: of what was chosen.
    """
    allowed, last = EPISODES["demonstrations"], first + max(count, 1) - 1
    if first in allowed and last in allowed:
        return []
    return [
        f"{name}: episodes are demonstrated with seeds from 0 to {allowed.stop - 1}, got {first} to {last}; "
        f"those from {EVALUATION_SEED} on are for evaluations, which start as nobody demonstrated"
    ]
