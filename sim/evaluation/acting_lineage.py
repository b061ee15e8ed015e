"""Lineage of simulated episodes: checkpoint, task, simulation settings and simulator."""

from __future__ import annotations

from reskill_core.checkpoint import Checkpoint
from reskill_core.config import config_to_dict
from reskill_core.lineage import Lineage
from reskill_core.provenance import simulator_version
from reskill_core.runtime.agent import AGENT_KIND
from reskill_sim.engine.task import Task


def acting_lineage(task: Task, profile: str, checkpoint: Checkpoint | None = None) -> Lineage:
    """Return the lineage of episodes of a task.

    Args:
        task: the task, with its variation and settings.
        profile: fidelity profile of the simulator.
        checkpoint: checkpoint of the acting skill module or agent, if any.
    """
    agent = checkpoint is not None and checkpoint.kind == AGENT_KIND
    own, made_from = (checkpoint.sha256, Lineage.of(checkpoint.document)) if checkpoint else (None, Lineage())
    return Lineage(
        skills=made_from.skills if agent else own,
        agent=own if agent else None,
        task=task.spec.name,
        profile=profile,
        variation=config_to_dict(task.variation),
        settings=task.spec.settings or None,
        simulator=simulator_version(),
    )
