"""Random streams of an episode: one seed, independent generators for everything that draws."""

from __future__ import annotations

import numpy as np

# An entry's place counts: new ones go to the end.
STREAMS = ("reset", "demonstrator", "policy", "world", "delay", "perception")


def episode_rng(seed: int, stream: str) -> np.random.Generator:
    """Generator of one ``STREAMS`` entry for the episode with this seed.

    An episode's start, its demonstrator's noise and its policy's samples depend on its seed alone, not on which
    process, batch or node draws them.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, STREAMS.index(stream)]))
