"""Configuration of a skill training run; every field can be overridden on the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from reskill_core.models.config import SkillModelConfig


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam, one learning rate for encoder and decoder and one for the prior.

    Attributes:
        learning_rate: of encoder and decoder.
        prior_learning_rate: of the prior.
        schedule: ``cosine`` falls to zero at the last step, ``constant`` stays.
        warmup_steps: steps over which the rate rises linearly from zero.
        gradient_norm: gradients of encoder and decoder together, and of the prior, are scaled down to this norm.
        weight_decay: decoupled, per step and unit of learning rate.
    """

    learning_rate: float = 3e-3
    prior_learning_rate: float = 2e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = 200
    gradient_norm: float = 5.0
    weight_decay: float = 0.0

    def violations(self) -> list[str]:
        """Rules on single values."""
        positive = ("learning_rate", "prior_learning_rate", "gradient_norm")
        not_negative = ("warmup_steps", "weight_decay")
        return [
            *(f"{name}: must be positive, got {v}" for name in positive if (v := getattr(self, name)) <= 0),
            *(f"{name}: must not be negative, got {v}" for name in not_negative if (v := getattr(self, name)) < 0),
        ]


@dataclass(frozen=True)
class SkillTrainingConfig:
    """A skill training run.

    Attributes:
        data: folder of the demonstrations.
        out: run folder.
        on_bad_shard: ``refuse`` to train if a shard is damaged, or ``skip`` it, naming it.
        seed: of initial weights, split, window sampling and posterior noise.
        validation_fraction: share of the episodes held out.
        beta: weight of the KL term against half the summed squared error. The default leaves the latent informative
            (about 10 nats) and yet filled well enough for N(0, I) to be a usable prior; 1e-6 gives better
            reconstruction to nobody and a latent space full of holes, 1e-2 blurs actions (figures: README.md).
        batch_size: windows per step.
        steps: step budget.
        patience: stop after this many validations without improvement; 0 never stops early.
        log_every: steps between rows of training metrics.
        validate_every: steps between validations, each followed by a checkpoint; the last step always is.
        validation_windows: windows that every validation takes.
        keep_checkpoints: numbered checkpoints kept beside the best one.
        threads: math threads. Two are nearly twice as fast on an idle machine and many times slower on a busy one.
        model: the skill module.
        optimiser: how it is trained.
    """

    data: str
    out: str
    on_bad_shard: Literal["refuse", "skip"] = "refuse"
    seed: int = 0
    validation_fraction: float = 0.05
    beta: float = 1e-3
    batch_size: int = 256
    steps: int = 8_000
    patience: int = 0
    log_every: int = 100
    validate_every: int = 1_000
    validation_windows: int = 4_096
    keep_checkpoints: int = 2
    threads: int = 1
    model: SkillModelConfig = field(default_factory=SkillModelConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

    def violations(self) -> list[str]:
        """Rules on single values and across them."""
        at_least_one = ("batch_size", "steps", "log_every", "validation_windows", "keep_checkpoints", "threads")
        faults = [f"{name}: must be at least 1, got {v}" for name in at_least_one if (v := getattr(self, name)) < 1]
        not_negative = ("beta", "patience", "seed")
        faults += [f"{name}: must not be negative, got {v}" for name in not_negative if (v := getattr(self, name)) < 0]
        if not 0 < self.validation_fraction < 1:
            faults.append(f"validation_fraction: must lie between 0 and 1, got {self.validation_fraction}")
        if self.validate_every < 1 or (self.log_every > 0 and self.validate_every % self.log_every):
            faults.append(
                "validate_every: must be a multiple of log_every, so that a run continues with whole averages, got "
                f"{self.validate_every} and {self.log_every}"
            )
        return faults
