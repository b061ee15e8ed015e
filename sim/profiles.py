"""Fidelity profiles: how much physics a simulated control step computes.

``exact``
    The stock Fetch model, step for step what the installed gymnasium-robotics environments compute.
``fast``
    The default for learning. Steps of 4 ms; base, torso and head are fixed, the arm collides by its gripper only.
``turbo``
    As ``fast`` with 8 ms steps. Contacts are coarser: pushed blocks are lifted more often. Not for studying pushing.

Coarser steps change how the gripper follows its command and how hard what it touches is hit. The constraint that pulls
the gripper is set so that it acts as in the stock model (``reskill_sim.scene``); what else makes up for
the coarseness was fitted to the paths and the successes of demonstrators in ``exact``.

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
        finger_solref: time constant [s] and damping ratio of contacts at the fingers. More damping keeps coarse steps
            from throwing what is pushed.
        action_gain: factor on the commanded displacement where the gripper is free to open. It starts from where the
            gripper was a step ago, which is further back the coarser the steps.
    """

    name: str
    timestep_s: float = 0.002
    slim: bool = False
    finger_condim: int = 4
    finger_solref: tuple[float, float] = (0.01, 1.0)
    action_gain: float = 1.0


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("exact"),
        Profile("fast", timestep_s=0.004, slim=True, finger_solref=(0.01, 1.2), action_gain=1.015),
        Profile(
            "turbo",
            timestep_s=0.008,
            slim=True,
            finger_condim=3,
            finger_solref=(0.016, 1.6),
            action_gain=1.045,
        ),
    )
}


def get_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    require_choice("simulator profile", name, tuple(PROFILES))
    return PROFILES[name]
