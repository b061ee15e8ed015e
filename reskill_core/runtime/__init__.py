"""Skills at control rate, in plain numpy: what evaluation, the policy node and replay all run."""

from reskill_core.runtime.skill_action import SkillAction

__all__ = ["SkillAction"]
