"""Fidelity profiles: how much physics a simulated control step computes.

``exact``
    The stock Fetch model, step for step what the installed gymnasium-robotics environments compute.
``fast``
    The default for learning. Base, torso and head are fixed, the arm collides with nothing but by its gripper, 4 ms
    steps. The gripper's commanded place is kept inside a box over the table, where the two models agree.
``turbo``
    As ``fast`` with 8 ms steps. Contacts are livelier: pushed blocks go further and are lifted more often. Not for
    studying pushing.

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
        weld_time_constant_s: of the constraint that pulls the gripper to where it is commanded [s].
        action_gain: factor on the commanded displacement, which makes up for how coarser steps track it.
        blocked_action_gain: the same where the gripper is blocked, whose place is read anew after each control step.
        workspace_w: lower and upper corner of the box the commanded gripper place is kept in [m]; None for no box.
    """

    name: str
    timestep_s: float = 0.002
    slim: bool = False
    finger_condim: int = 4
    weld_time_constant_s: float = 0.02
    action_gain: float = 1.0
    blocked_action_gain: float = 1.0
    workspace_w: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None


_TABLE_BOX = ((0.95, 0.25, 0.40), (1.60, 1.25, 0.80))

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("exact"),
        Profile(
            "fast",
            timestep_s=0.004,
            slim=True,
            action_gain=1.015,
            blocked_action_gain=0.985,
            workspace_w=_TABLE_BOX,
        ),
        Profile(
            "turbo",
            timestep_s=0.008,
            slim=True,
            finger_condim=3,
            weld_time_constant_s=0.019,
            blocked_action_gain=0.94,
            workspace_w=_TABLE_BOX,
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
