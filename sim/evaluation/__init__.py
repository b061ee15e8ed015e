"""Evaluation of skill modules, and of policies on tasks."""

from reskill_core.seeding import EVALUATION_SEED
from reskill_sim.evaluation.policies import (
    POLICIES,
    PolicyEvaluation,
    PolicyEvaluationConfig,
    acting_checkpoints,
    evaluate_policies,
    evaluate_policy,
    make_policy,
    metrics_table,
)
from reskill_sim.evaluation.policies import table as policy_table
from reskill_sim.evaluation.robustness import (
    COMBINATIONS,
    SWEEPS,
    Combination,
    Robustness,
    Sweep,
    evaluate_robustness,
    parse_sweeps,
)
from reskill_sim.evaluation.robustness import table as robustness_table
from reskill_sim.evaluation.skills import SkillEvaluation, SkillEvaluationConfig, evaluate_skills

__all__ = [
    "COMBINATIONS",
    "EVALUATION_SEED",
    "POLICIES",
    "SWEEPS",
    "Combination",
    "PolicyEvaluation",
    "PolicyEvaluationConfig",
    "Robustness",
    "SkillEvaluation",
    "SkillEvaluationConfig",
    "Sweep",
    "acting_checkpoints",
    "evaluate_policies",
    "evaluate_policy",
    "evaluate_robustness",
    "evaluate_skills",
    "make_policy",
    "metrics_table",
    "parse_sweeps",
    "policy_table",
    "robustness_table",
]
