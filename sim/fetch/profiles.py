"""Fidelity profiles: how much physics a simulated control step computes.

``exact``
    The stock Fetch model, step for step what the installed gymnasium-robotics environments compute.
``fast``
    The default for learning. Steps of 4 ms; base, torso and head are fixed, the arm collides by its gripper only.
``turbo``
    As ``fast`` with 8 ms steps. Pushed blocks are lifted twice as often: not for studying pushing.

Coarser steps change how constraints act: the one that pulls the gripper and those of contacts. They are set so that
they act as in the stock model (``reskill_sim.fetch.model``); nothing is fitted.

What the two cost in fidelity stands, measured, in ``docs/simulation.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

from reskill_core.errors import require_choice


@dataclass(frozen=True)
class Profile:
    """How to simulate.

    Attributes:
        name: name of the profile.
        timestep_s: integration step [s].
        slim: base, torso and head fixed, and of the robot only gripper and fingers collide.
        finger_condim: dimensions of friction at the fingers; 4 has torsion, 3 has not.
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
    """The profile of that name.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    require_choice("simulator profile", name, tuple(PROFILES))
    return PROFILES[name]
