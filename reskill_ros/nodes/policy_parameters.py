"""Parameters of policy_node."""

from __future__ import annotations

from dataclasses import dataclass

from reskill_core.parameters import MAX_SEED, parameter
from reskill_core.runtime.loading import POLICY_MODES, PolicyMode
from reskill_core.runtime.skill_policy import LATENT_SOURCES, LatentSource


@dataclass(frozen=True)
class PolicyOptions:
    """Which policy it is and how it chooses skills; graphs take the same arguments."""

    skills: str = parameter(
        "", "Checkpoint or run folder of a skill module or an agent, or a shipped one such as agents/clean_up."
    )
    mode: PolicyMode = parameter(
        "auto",
        "Sample skills or take the most likely one; auto: sample, except for an agent.",
        choices=POLICY_MODES,
    )
    latent_source: LatentSource = parameter(
        "prior", "Mapping from noise to latents: the skill prior, or none (standard_normal).", choices=LATENT_SOURCES
    )


@dataclass(frozen=True)
class PolicyParameters(PolicyOptions):
    """Parameters of policy_node; those of the policy are read when it is configured."""

    task: str = parameter("", "Task to run, with the layout and rate of the checkpoint; empty: the checkpoint's task.")
    seed: int = parameter(0, "Seed of the first episode without a seed of its own.", low=0, high=MAX_SEED)
    autostart: bool = parameter(True, "Configure and activate at start.", read_only=True)
    must_start: bool = parameter(False, "End the process with an error if that fails.", read_only=True)
