"""The kinds of skill models by name; other packages add to them by entry points of group ``reskill.skill_models``.

Importing this module loads no torch: a process that acts needs the configuration and the runtime of a kind only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from reskill_core.models.config import ReskillModelConfig, SkillModelConfig
from reskill_core.plugins import Registry

if TYPE_CHECKING:
    from reskill_core.models.skill_model import SkillModel
    from reskill_core.runtime.skill_runtime import SkillRuntime

SKILL_MODELS = Registry("reskill.skill_models", "skill model", {"reskill": "reskill_core.models.registry:RESKILL"})


@dataclass(frozen=True)
class SkillModelKind:
    """Where the parts of a kind of skill model are.

    Attributes:
        config: dataclass of its hyper-parameters; its default of ``kind`` is the kind's name.
        model: ``module:class`` of the :class:`~reskill_core.models.skill_model.SkillModel` that is trained, in torch.
        runtime: ``module:class`` of the :class:`~reskill_core.runtime.skill_runtime.SkillRuntime` that acts. Without
            one, graphs act that are exported from the model with each checkpoint.
    """

    config: type[SkillModelConfig]
    model: str
    runtime: str = ""

    @property
    def has_runtime(self) -> bool:
        """Whether it acts by code of its own, not by exported graphs."""
        return bool(self.runtime)

    def load_model(self) -> type[SkillModel]:
        """The class that is trained; loads torch."""
        return _attribute(self.model)

    def load_runtime(self) -> type[SkillRuntime]:
        """The class that acts."""
        return _attribute(self.runtime or "reskill_core.runtime.graph_skills:GraphSkills")


RESKILL = SkillModelKind(
    ReskillModelConfig,
    model="reskill_core.models.skill_vae:SkillVae",
    runtime="reskill_core.runtime.numpy_skills:NumpySkills",
)


def skill_model_kind(document: Mapping[str, Any]) -> SkillModelKind:
    """The kind that the ``model`` section of a configuration or of a checkpoint names.

    Raises:
        ConfigError: there is no such kind; the message lists those there are.
    """
    # Older ones name none: there was one.
    kind: SkillModelKind = SKILL_MODELS.get(str(document.get("kind", SkillModelConfig.kind)))
    return kind


def _attribute(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
