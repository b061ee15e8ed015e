"""Fidelity profiles of the simulated kitchen.

``exact``
    The model of the installed gymnasium-robotics, equal to its environment in every step.
``fast``
    The default for training: steps of 5 ms, and collisions only where arm and objects can meet.
``turbo``
    The same with steps of 8 ms.

``docs/kitchen.md`` has measurements of the loss in fidelity.
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
        slim: whether contacts that do not occur are left out, and the integrator is implicit in the dampings.
    """

    name: str
    timestep_s: float = 0.002
    slim: bool = False


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("exact"),
        Profile("fast", timestep_s=0.005, slim=True),
        Profile("turbo", timestep_s=0.008, slim=True),
    )
}


def get_profile(name: str) -> Profile:
    """Return the profile with this name.

    Raises:
        ConfigError: there is no such profile; the message lists the valid names.
    """
    require_choice("simulator profile", name, tuple(PROFILES))
    return PROFILES[name]
