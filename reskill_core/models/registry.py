"""Registry of the kinds of skill models; other packages add to it by entry points of group ``reskill.skill_models``.

Importing this module does not import torch: inference only needs the configuration and the runtime of a kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reskill_core.models.config import ReskillModelConfig, SkillModelConfig
from reskill_core.plugins import Registry, imported

if TYPE_CHECKING:
    from reskill_core.models.skill_model import SkillModel
    from reskill_core.runtime.skill_runtime import SkillRuntime

SKILL_MODELS = Registry(
    "reskill.skill_models",
    "skill model",
    {
        "reskill": "reskill_core.models.registry:RESKILL",
        "spirl": "reskill_core.models.spirl.config:SPIRL",
        "flat": "reskill_core.models.spirl.config:FLAT",
    },
)


@dataclass(frozen=True)
class SkillModelKind:
    """Kind of skill model, with the locations of its parts.

    Attributes:
        config: dataclass of its hyper-parameters; its default of ``kind`` is the kind's name.
        model: ``module:class`` of the :class:`~reskill_core.models.skill_model.SkillModel` for training, in torch.
        runtime: ``module:class`` of the :class:`~reskill_core.runtime.skill_runtime.SkillRuntime` for inference. If
            empty, inference uses graphs that are exported from the model with each checkpoint.
    """

    config: type[SkillModelConfig]
    model: str
    runtime: str = ""

    @property
    def has_runtime(self) -> bool:
        """Whether the kind has its own runtime, instead of exported graphs."""
        return bool(self.runtime)

    def load_model(self) -> type[SkillModel]:
        """Import the class for training; imports torch."""
        return imported(self.model)

    def load_runtime(self) -> type[SkillRuntime]:
        """Import the class for inference."""
        return imported(self.runtime or "reskill_core.runtime.graph_skills:GraphSkills")


RESKILL = SkillModelKind(
    ReskillModelConfig,
    model="reskill_core.models.skill_vae:SkillVae",
    runtime="reskill_core.runtime.numpy_skills:NumpySkills",
)


def skill_model_kind(document: Mapping[str, Any]) -> SkillModelKind:
    """Return the kind named in the ``model`` section of a configuration or checkpoint.

    Raises:
        ConfigError: there is no such kind; the message lists the valid names.
    """
    # Older documents have no kind: there was only one.
    kind: SkillModelKind = SKILL_MODELS.get(str(document.get("kind", SkillModelConfig.kind)))
    return kind
