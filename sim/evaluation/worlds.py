"""Conversion between the world of a data set (its simulation settings) and the simulator's task and profile."""

from __future__ import annotations

from dataclasses import replace

from reskill_core.checkpoint import Checkpoint
from reskill_core.config import config_from_dict, config_to_dict
from reskill_core.data import DataWorld, DemoDataset
from reskill_core.data.world import REAL, deviations
from reskill_core.errors import ConfigError, DataError
from reskill_core.provenance import simulator_version
from reskill_core.training.split import learnt_worlds
from reskill_sim.engine.task import Task
from reskill_sim.engine.variation import Variation
from reskill_sim.families import family_of, get_task


def world_of(profile: str, variation: Variation) -> DataWorld:
    """Describe profile, variation and simulator as the world of a data set."""
    return DataWorld(profile, deviations(config_to_dict(variation)), simulator_version())


def task_in(world: DataWorld, name: str, what: str) -> Task:
    """Create a task with the variation of a world; an unknown variation is assumed to be nominal.

    Args:
        world: world of the data.
        name: name of the task.
        what: the data with this world, for the message.

    Raises:
        DataError: this simulator does not have these settings, or the world is ambiguous.
    """
    profiles = family_of(name).profiles
    if world.profile == REAL or world.profile not in profiles:
        known = ", ".join(profiles)
        raise DataError(f"{what} happened in no world of this simulator ({world.describe()}); profiles: {known}")
    if world.mixed:
        raise DataError(
            f"{what} happened in {world.describe()}; merge the sources again with `reskill data merge`, which keeps "
            "them apart now"
        )
    try:
        variation = config_from_dict(Variation, dict(world.variation or {}), source=f"the world of {what}")
    except ConfigError as error:
        raise DataError(f"{what} happened in a world that this simulator does not know: {error}") from error
    return get_task(name, variation)


def task_of(dataset: DemoDataset, world: DataWorld) -> Task:
    """Create the task of a data set's episodes of one world, compatible with their states.

    Raises:
        DataError: as of :func:`task_in`, or the states do not fit the world.
    """
    what = f"episodes of {dataset.folder}"
    task, found = task_in(world, dataset.spec.task.name, what), dataset.spec.sim_state_dim
    if (expected := task.make_env(profile=world.profile).state_dim) != found:
        raise DataError(
            f"states of {what} have {found} entries, those of {world.describe()} have {expected}: they happened in "
            "another world"
        )
    return task


def learnt_world(checkpoint: Checkpoint, profile: str = "", variation: Variation | None = None) -> DataWorld:
    """Return the world of a model's training data, with optional changes.

    Args:
        checkpoint: checkpoint of the model.
        profile: fidelity profile to use instead.
        variation: variation to use instead.

    Raises:
        ConfigError: the training data has several worlds, and profile and variation are not both given.
    """
    learnt = learnt_worlds(checkpoint)
    kinds = {(world.profile, str(world.variation)): world for world in learnt}
    named = bool(profile) and variation is not None
    if not named and (len(kinds) > 1 or any(world.mixed for world in learnt)):
        listed = "".join(f"\n  - {world.describe()}" for world in learnt)
        raise ConfigError(
            f"{checkpoint.folder} learnt from several worlds; name one by --profile and --vary (the nominal one is "
            f"--vary friction=1):{listed}"
        )
    base = learnt[0] if learnt and learnt[0].profile != REAL else DataWorld("exact", {})
    varied = base.variation if variation is None else world_of(base.profile, variation).variation
    return replace(base, profile=profile or base.profile, variation=varied, simulator=simulator_version(), mixed=False)
