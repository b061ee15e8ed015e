"""Is it any good? Diagnostics of skill modules in the simulator, before any reinforcement learning."""

from reskill_sim.evaluation.skills import SkillEvaluation, SkillEvaluationConfig, evaluate_skills

__all__ = ["SkillEvaluation", "SkillEvaluationConfig", "evaluate_skills"]
