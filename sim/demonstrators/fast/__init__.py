"""The quickest sensible motion for each task, tuned to its reward: about what a learner can reach at best."""

from __future__ import annotations

from reskill_sim.demonstrators.hook import hook
from reskill_sim.demonstrators.motions import Controller
from reskill_sim.demonstrators.pick_and_place import pick_and_put_away, pick_and_stack
from reskill_sim.demonstrators.push import push

FAST_SCRIPTS: dict[str, Controller] = {
    "slippery_push": push,
    "clean_up": pick_and_put_away,
    "pyramid_stack": pick_and_stack,
    "complex_hook": hook,
}
