"""Inference of skills and agents at control rate, without torch, for evaluation, policy node and replay."""

from reskill_core.rl.actor import Actor
from reskill_core.runtime.loading import load_policy
from reskill_core.runtime.skill_action import SkillAction
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.runtime.skill_policy import SkillPolicy

__all__ = ["Actor", "SkillAction", "SkillModule", "SkillPolicy", "load_policy"]
