"""Policies from checkpoints, whatever is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from reskill_core.checkpoint import load_checkpoint
from reskill_core.errors import require_choice
from reskill_core.runtime.agent import AGENT_KIND, agent_policy
from reskill_core.runtime.skill_module import SKILL_MODULE_KIND, SkillModule
from reskill_core.runtime.skill_policy import LatentSource, SkillPolicy

PolicyMode = Literal["auto", "sample", "mode"]
POLICY_MODES = ("auto", "sample", "mode")
# What a policy can be made of.
POLICY_KINDS = (SKILL_MODULE_KIND, AGENT_KIND)


def load_policy(
    folder: Path | str, mode: PolicyMode = "auto", latent_source: LatentSource = "prior", batch_invariant: bool = True
) -> SkillPolicy:
    """The policy of a skill module or of an agent, from a checkpoint or the best one of a run folder.

    Args:
        folder: checkpoint or run folder.
        mode: ``sample`` draws skills, ``mode`` takes the most likely one; ``auto`` draws them where there are skills
            alone, whose most likely one is arbitrary, and does not where an agent chooses.
        latent_source: where a skill module's noise becomes a skill; an agent has its own.
        batch_invariant: see :class:`~reskill_core.runtime.skill_module.SkillModule`.

    Raises:
        CheckpointError: it is missing, damaged or of another kind.
        ConfigError: a mode is unknown.
    """
    require_choice("mode", mode, POLICY_MODES)
    checkpoint = load_checkpoint(folder, *POLICY_KINDS)
    if checkpoint.kind == AGENT_KIND:
        return agent_policy(checkpoint, "mode" if mode == "auto" else mode, batch_invariant)
    return SkillPolicy(SkillModule(checkpoint, batch_invariant), "sample" if mode == "auto" else mode, latent_source)
