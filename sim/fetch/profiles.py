"""Fidelity profiles of the simulated Fetch.

``exact``
    The stock Fetch model, equal to the installed gymnasium-robotics environments in every step.
``fast``
    The default for training. Steps of 4 ms; base, torso and head are fixed, only the gripper of the arm collides.
``turbo``
    As ``fast`` with 8 ms steps. Pushed blocks are lifted twice as often: not suitable for studying pushing.

Coarser steps change how constraints act, those of the gripper's weld and of contacts. Their parameters are set so that
they act as in the stock model (``reskill_sim.fetch.model``), without fitting.

``docs/simulation.md`` has measurements of the loss in fidelity.
"""

from __future__ import annotations

from dataclasses import dataclass

from reskill_core.errors import require_choice


@dataclass(frozen=True)
class Profile:
    """Fidelity profile.

    Attributes:
        name: name of the profile.
        timestep_s: integration step [s].
        slim: whether base, torso and head are fixed, and only gripper and fingers of the robot collide.
        finger_condim: contact dimensions of the fingers; 4 includes torsional friction, 3 does not.
    """

    name: str
    timestep_s: float = 0.002
    slim: bool = False
    finger_condim: int = 4


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("exact"),
        Profile("fast", timestep_s=0.004, slim=True),
        Profile("turbo", timestep_s=0.008, slim=True, finger_condim=3),
    )
}


def get_profile(name: str) -> Profile:
    """Return the profile with this name.

    Raises:
        ConfigError: there is no such profile; the message lists the valid names.
    """
    require_choice("simulator profile", name, tuple(PROFILES))
    return PROFILES[name]
