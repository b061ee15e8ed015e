"""Streams of random numbers: none is drawn from for two purposes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from reskill_core.errors import ConfigError
from reskill_core.seeding import (
    EPISODES,
    EVALUATION_SEED,
    MAX_EPISODE_SEED,
    PURPOSES,
    STREAMS,
    drawn_episode,
    episode_rng,
    first_episode,
    foreign_demonstrations,
    run_integer,
    run_rng,
)

# Among them the one whose episodes were once those of the evaluation, dates, and what no range of bits would hold.
RUNS = (0, 1, 2, 5, 100, 430, 20240613, 2**32, 2**32 + 1, 5 * 2**32, 2**50, 2**64 - 1)


def key(rng: np.random.Generator) -> bytes:
    return rng.integers(2**63, size=2).tobytes()


def test_no_two_streams_have_the_same_generator() -> None:
    drawn: dict[object, bytes] = {}
    for run in RUNS:
        for purpose in PURPOSES:
            for part in ((), (0,), (1,), (2,), (0, 1)):
                drawn[run, purpose, part] = key(run_rng(run, purpose, *part))
    seeds = {*RUNS, *range(20), *range(EVALUATION_SEED, EVALUATION_SEED + 20), 2**32 - 1, 7 * 2**32, MAX_EPISODE_SEED}
    firsts = {first_episode(run, purpose) for run in RUNS for purpose in ("training", "selection")}
    seeds |= {first + further for first in firsts for further in range(5)}
    for seed in seeds:
        for stream in STREAMS:
            drawn[seed, stream] = key(episode_rng(seed, stream))
    owners = {value: name for name, value in drawn.items()}
    shared = [(name, owners[value]) for name, value in drawn.items() if owners[value] != name]
    assert not shared


def test_an_episode_of_today_is_the_episode_of_yesterday() -> None:
    # Drawn when evaluations of the shipped agents were first written down.
    assert episode_rng(EVALUATION_SEED, "reset").integers(2**32) == 4251383073
    assert episode_rng(7, "demonstrator").integers(2**32) == 3737738445


def test_seeds_of_episodes_say_what_they_are_for() -> None:
    ranges = sorted(EPISODES.values(), key=lambda seeds: seeds.start)
    assert all(one.stop <= other.start for one, other in pairwise(ranges))
    assert ranges[0].start == 0
    assert ranges[-1].stop <= MAX_EPISODE_SEED + 1 == int(np.float64(MAX_EPISODE_SEED)) + 1
    for run in RUNS:
        for purpose in ("training", "selection"):
            first = first_episode(run, purpose)
            assert first in EPISODES[purpose]
            # Far more than any run has steps.
            assert first + 2**49 - 1 in EPISODES[purpose]
    rng = np.random.default_rng(0)
    drawn = [drawn_episode(rng) for _ in range(1000)]
    assert all(seed in EPISODES["gymnasium"] for seed in drawn)
    assert len(set(drawn)) == 1000
    assert EVALUATION_SEED in EPISODES["reported evaluations"]


def test_episodes_of_runs_do_not_meet() -> None:
    count = 100_000
    for purpose in ("training", "selection"):
        starts = sorted(first_episode(run, purpose) for run in range(1000))
        assert np.diff(starts).min() > count


def test_integers_for_other_generators_are_as_different() -> None:
    found = [run_integer(run, purpose) for run in RUNS for purpose in PURPOSES]
    assert len(set(found)) == len(found)
    assert all(0 <= integer < 2**63 for integer in found)


@pytest.mark.parametrize("run", [-1, 2**64])
def test_seeds_of_runs_have_a_range(run: int) -> None:
    with pytest.raises(ConfigError, match=r"from 0 to 2\^64 - 1, got "):
        run_rng(run, "exploration")


def test_demonstrations_start_where_nothing_is_evaluated() -> None:
    assert foreign_demonstrations(0, EVALUATION_SEED, "seed") == []
    assert foreign_demonstrations(EVALUATION_SEED - 1, 1, "seed") == []
    for first, count in ((EVALUATION_SEED, 1), (EVALUATION_SEED - 1, 2), (-1, 5), (2**50, 1)):
        [fault] = foreign_demonstrations(first, count, "seed")
        assert fault.startswith(f"seed: episodes are demonstrated with seeds from 0 to 999999999, got {first} to ")
