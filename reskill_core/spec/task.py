"""Specification of a task, stored in data sets and checkpoints: layouts, control period and horizon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from reskill_core.parameters import parameter
from reskill_core.spec.actions import ActionSpec
from reskill_core.spec.documents import differences, parsed, plain, with_keys
from reskill_core.spec.layout import ObsSpec


@dataclass(frozen=True)
class TaskSpec:
    """Specification of a task, on which data, models and nodes have to agree.

    Attributes:
        name: name of the task.
        obs: observation layout.
        action: action layout.
        control_period_s: time for which an action is held [s].
        horizon: control steps after which an episode is truncated.
        gripper_closed: whether the gripper stays closed, whatever the actions say.
        description: one sentence for users.
        settings: the family's settings of the task, complete and ready for JSON, which recreate it; empty if it has
            none. Layouts do not depend on them.
    """

    name: str
    obs: ObsSpec
    action: ActionSpec = field(default_factory=ActionSpec)
    control_period_s: float = parameter(0.04, low=1e-4, high=100.0)
    horizon: int = parameter(50, low=1, high=10**6)
    gripper_closed: bool = False
    description: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", plain(dict(self.settings)))

    @property
    def control_rate_hz(self) -> float:
        """Control steps per second."""
        return 1.0 / self.control_period_s

    def to_dict(self) -> dict[str, Any]:
        """Convert to nested dictionaries and lists, ready for JSON."""
        document = plain(asdict(self))
        # As in documents of earlier versions.
        for key in ("settings", "gripper_closed"):
            if not document[key]:
                del document[key]
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TaskSpec:
        """Parse the document of :meth:`to_dict`, also of earlier versions.

        Raises:
            SpecError: keys are missing or unknown, or a value has the wrong type or is out of range.
        """
        document = with_keys(document, "name", "obs", "action")
        # Parsed separately, because earlier versions have another form.
        action = ActionSpec.from_dict(document["action"])
        return parsed(cls, {**document, "action": action})

    def differences(self, other: TaskSpec, ignore: tuple[str, ...] = ()) -> list[str]:
        """List all differences but those of description, settings and gripper, as ``path: mine != theirs``.

        Settings are part of the simulated world, which lineages compare: data and models of different settings of a
        task are of the same kind. Whether the gripper stays closed is missing in documents of earlier versions.
        """
        mine, theirs = self.to_dict(), other.to_dict()
        for key in ("description", "settings", "gripper_closed", *ignore):
            mine.pop(key, None)
            theirs.pop(key, None)
        return differences("", mine, theirs)

    def interface_differences(self, other: TaskSpec) -> list[str]:
        """:meth:`differences` in what a policy depends on: layouts and control period, not name and horizon."""
        return self.differences(other, ignore=("name", "horizon"))
