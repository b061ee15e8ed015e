"""Skill priors of ReSkill's model, by name."""

from __future__ import annotations

from reskill_core.models.config import PriorConfig
from reskill_core.models.flow import FlowPrior
from reskill_core.models.gaussian import GaussianPrior
from reskill_core.models.prior import SkillPrior

PRIORS: dict[str, type[SkillPrior]] = {"flow": FlowPrior, "gaussian": GaussianPrior}


def build_prior(config: PriorConfig, feature_dim: int, latent_dim: int) -> SkillPrior:
    """Create the configured prior, for ``feature_dim`` inputs and ``latent_dim`` latent entries."""
    return PRIORS[config.kind](config, feature_dim, latent_dim)
