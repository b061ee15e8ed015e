"""Is it any good? Diagnostics of skill modules, and the protocol by which policies are judged on tasks."""

from reskill_sim.evaluation.policies import (
    POLICIES,
    PolicyEvaluation,
    PolicyEvaluationConfig,
    evaluate_policies,
    evaluate_policy,
    make_policy,
)
from reskill_sim.evaluation.policies import table as policy_table
from reskill_sim.evaluation.rollouts import EVALUATION_SEED
from reskill_sim.evaluation.skills import SkillEvaluation, SkillEvaluationConfig, evaluate_skills

__all__ = [
    "EVALUATION_SEED",
    "POLICIES",
    "PolicyEvaluation",
    "PolicyEvaluationConfig",
    "SkillEvaluation",
    "SkillEvaluationConfig",
    "evaluate_policies",
    "evaluate_policy",
    "evaluate_skills",
    "make_policy",
    "policy_table",
]
