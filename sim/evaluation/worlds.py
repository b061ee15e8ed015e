"""Conversion between the world of a data set (its simulation settings) and the simulator's task and profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reskill_core.checkpoint import Checkpoint
from reskill_core.config import config_from_dict, config_to_dict, merged
from reskill_core.data import DataWorld, DemoDataset
from reskill_core.data.world import REAL, deviations
from reskill_core.errors import ConfigError, DataError
from reskill_core.lineage import differences
from reskill_core.provenance import simulator_version
from reskill_core.runtime.agent import AGENT_KIND
from reskill_core.training.split import learnt_worlds
from reskill_sim.engine.family import NO_SETTINGS
from reskill_sim.engine.task import Task
from reskill_sim.engine.variation import Variation
from reskill_sim.families import family_of, get_task


def world_of(profile: str, variation: Variation, settings: Mapping[str, Any] = NO_SETTINGS) -> DataWorld:
    """Describe profile, variation, settings of the task (all of them) and simulator as the world of a data set."""
    return DataWorld(profile, deviations(config_to_dict(variation)), simulator_version(), settings=settings)


def task_in(world: DataWorld, name: str, what: str) -> Task:
    """Create a task with the variation and settings of a world; an unknown variation is assumed to be nominal.

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
        return get_task(name, variation, world.settings)
    except ConfigError as error:
        raise DataError(f"{what} happened in a world that this simulator does not know: {error}") from error


def settings_for(task: str, checkpoints: Sequence[Checkpoint], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings to run a task with: those of its agents, or else of its skill modules, with changes.

    Raises:
        ConfigError: they were made with different settings, which the changes do not make equal.
    """
    own = [checkpoint for checkpoint in checkpoints if checkpoint.task.name == task]
    own = [checkpoint for checkpoint in own if checkpoint.kind == AGENT_KIND] or own
    for checkpoint in own[1:]:
        if faults := differences("", *(merged(one.task.settings, changes) for one in (own[0], checkpoint))):
            raise ConfigError(
                f"{own[0].folder} and {checkpoint.folder} were made with different settings of task {task!r}; evaluate "
                f"one at a time, or give these by --task-settings: {'; '.join(faults)}"
            )
    return merged(own[0].task.settings if own else {}, changes)


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


def learnt_world(
    checkpoint: Checkpoint,
    profile: str = "",
    variation: Variation | None = None,
    settings: Mapping[str, Any] = NO_SETTINGS,
) -> DataWorld:
    """Return the world of a model's training data, with optional changes.

    Args:
        checkpoint: checkpoint of the model.
        profile: fidelity profile to use instead.
        variation: variation to use instead.
        settings: settings of the task to change.

    Raises:
        ConfigError: the training data has several worlds, and profile and variation are not both given; or several
            settings of the task, and none are given.
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
    different = [world for world in learnt if world.settings != learnt[0].settings]
    if different and not settings:
        raise ConfigError(
            f"{checkpoint.folder} learnt with several settings of the task; name some by --task-settings: "
            f"{learnt[0].describe()}; {different[0].describe()}"
        )
    base = learnt[0] if learnt and learnt[0].profile != REAL else DataWorld("exact", {})
    varied = base.variation if variation is None else world_of(base.profile, variation).variation
    return replace(
        base,
        profile=profile or base.profile,
        variation=varied,
        simulator=simulator_version(),
        mixed=False,
        settings=merged({} if different else base.settings, settings),
    )
