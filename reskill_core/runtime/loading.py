"""Loading of policies from checkpoints of any kind."""

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
# Kinds of checkpoints that contain a policy.
POLICY_KINDS = (SKILL_MODULE_KIND, AGENT_KIND)


def load_policy(
    folder: Path | str, mode: PolicyMode = "auto", latent_source: LatentSource = "prior", batch_invariant: bool = True
) -> SkillPolicy:
    """Load the policy of a skill module or agent, from a checkpoint or the best one of a run folder.

    Args:
        folder: checkpoint or run folder.
        mode: ``sample`` samples skills, ``mode`` uses the most likely one; ``auto`` samples for a skill module, whose
            most likely skill is arbitrary, and uses the most likely one for an agent.
        latent_source: source of a skill module's latents; an agent has its own.
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
