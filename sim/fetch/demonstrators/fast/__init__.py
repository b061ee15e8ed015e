"""Fast scripts, tuned to each task's reward: approximately the best return that a learner can reach."""

from __future__ import annotations

from reskill_sim.fetch.demonstrators.fast.hook import reach_and_pull
from reskill_sim.fetch.demonstrators.fast.pick import drop_on_block, throw_into_tray
from reskill_sim.fetch.demonstrators.fast.push import strike_to_goal
from reskill_sim.fetch.demonstrators.motions import Controller

FAST_SCRIPTS: dict[str, Controller] = {
    "slippery_push": strike_to_goal,
    "clean_up": throw_into_tray,
    "pyramid_stack": drop_on_block,
    "hook": reach_and_pull,
    "complex_hook": reach_and_pull,
    "complex_hook_held_out": reach_and_pull,
}
