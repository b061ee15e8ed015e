"""Actuation: what an arm makes of commanded actions, when it answers late, slowly or sluggishly."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_core.spec import GRIPPER_VELOCITY, VELOCITIES
from reskill_sim.engine.measurement_noise import uniform_noise
from reskill_sim.engine.mechanism import Mechanism
from reskill_sim.engine.rows import RowLayout, pushed
from reskill_sim.engine.task import SimulatedTask
from reskill_sim.engine.variation import UNLIMITED_N

_TINY = 1e-9
# Of uniform noise between -1 and 1, so that its standard deviation is 1.
_UNIT = np.sqrt(3.0)


class Actuation:
    """Actuation of the arms of a task's environments, as its variation has drawn it for each episode.

    An action takes effect after a delay of d control periods and a share φ of one more: in control step k the arm is
    told (1 - φ) a[k - d] + φ a[k - d - 1], the mean over the step. Its velocities v, except those of fingers, are
    scaled by the speed s, and where the fastest of them exceeds the limit l, all are slowed down alike:
    w = s v min(1, l / max |s v|), as shares of full speed. They are followed with a time constant τ, the lag:
    u ← exp(-T / τ) u + (1 - exp(-T / τ)) w in each control period T. With an overshoot o, they follow with the same lag
    like an oscillator, u'' = ω² (w - u) - 2 ζ ω u' with ζ = -ln o / √(π² + ln² o) and ω = 2 ζ / τ; the mean over the
    control period takes effect.

    An unsteady arm is ahead of that or behind in each step k by a share e[k] of its motion, along every axis by another
    one, which the next step makes up for: u (1 + e[k] - e[k - 1]).

    An arm whose force is limited to f yields to a load F, the force that acts on it: the part of its velocity against
    the load is scaled by 2 - 2 |F| / f, within [0, 1]: it slows down from half of that force on, and stands at f.

    Args:
        task: the task, with its variation.
        mechanism: the mechanism, which measures the load.
        layout: layout of the state rows.
    """

    def __init__(self, task: SimulatedTask, mechanism: Mechanism, layout: RowLayout) -> None:
        self._mechanism, self._layout, self._period_s = mechanism, layout, task.spec.control_period_s
        quantities = task.spec.action.quantities
        if task.variation.limits_force:
            # Refuse at once what the mechanism does not support.
            mechanism.load(np.zeros((1, mechanism.model.nsensordata)))
        self._is_of_arm = np.array([quantity in VELOCITIES and quantity != GRIPPER_VELOCITY for quantity in quantities])

    def apply(self, actions: Float64Array, before: Float64Array, after: Float64Array) -> Float64Array:
        """Return the actions (n, A) that take effect in a control step.

        Args:
            actions: (n, A) finite actions, as commanded.
            before: (n, S) states before the step.
            after: (n, S) states after it, into which what is under way is written.
        """
        layout = self._layout
        after[:, layout.pending] = pushed(before[:, layout.pending], actions)
        executed, speed = self._delayed(actions, before), before[:, layout.speed]
        if speed.size:
            executed = np.where(self._is_of_arm, speed * executed, executed)
        limit = before[:, layout.speed_limit]
        if limit.size:
            fastest = np.abs(executed[:, self._is_of_arm]).max(axis=1, keepdims=True)
            executed = np.where(self._is_of_arm, executed * (limit / np.maximum(fastest, limit)), executed)
        if layout.followed.start < layout.followed.stop:
            followed = self._followed(executed, before)
            after[:, layout.followed] = followed
            if layout.rates.start < layout.rates.stop:
                oscillates = (before[:, layout.overshoot] > 0.0) & (before[:, layout.lag] > 0.0)
                mean, velocities, rates = self._oscillating(executed, before)
                after[:, layout.followed] = np.where(oscillates, velocities, followed)
                after[:, layout.rates] = np.where(oscillates, rates, 0.0)
                followed = np.where(oscillates, mean, followed)
            executed = np.where(self._is_of_arm, followed, executed)
        if before[:, layout.unsteadiness].size:
            executed = np.where(self._is_of_arm, executed * (1.0 + self._gained(before)), executed)
        if before[:, layout.force_limit].size:
            executed = self._yielding(executed, before)
        return executed

    def _delayed(self, actions: Float64Array, before: Float64Array) -> Float64Array:
        layout, count, dim = self._layout, *actions.shape
        if layout.pending.start == layout.pending.stop:
            return actions
        waiting = np.concatenate([actions[:, None], before[:, layout.pending].reshape(count, -1, dim)], axis=1)
        rows, delay, late = np.arange(count), before[:, layout.delays][:, 1].astype(int), before[:, layout.lateness]
        executed = waiting[rows, delay]
        return executed + late * (waiting[rows, delay + 1] - executed) if late.size else executed

    def _followed(self, wanted: Float64Array, before: Float64Array) -> Float64Array:
        last, lag = before[:, self._layout.followed], before[:, self._layout.lag]
        with np.errstate(divide="ignore"):
            kept = np.exp(-self._period_s / lag)
        return kept * last + (1.0 - kept) * wanted

    def _oscillating(
        self, wanted: Float64Array, before: Float64Array
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Mean velocities (n, A) over the control period, and velocities and rates (n, A) at its end."""
        layout, period_s = self._layout, self._period_s
        logarithm = np.log(np.maximum(before[:, layout.overshoot], _TINY))
        damping = -logarithm / np.hypot(np.pi, logarithm)
        frequency = 2.0 * damping / np.maximum(before[:, layout.lag], _TINY)
        decay, damped = damping * frequency, frequency * np.sqrt(1.0 - damping**2)
        left = np.exp(-decay * period_s)
        cosine, sine = left * np.cos(damped * period_s), left * np.sin(damped * period_s) / damped
        off, rate = before[:, layout.followed] - wanted, before[:, layout.rates]
        off_then = off * (cosine + decay * sine) + rate * sine
        rate_then = rate * (cosine - decay * sine) - off * frequency**2 * sine
        # The integral of u - w over the period, from the equation of motion.
        mean_off = -(rate_then - rate + 2.0 * decay * (off_then - off)) / (frequency**2 * period_s)
        return wanted + mean_off, wanted + off_then, rate_then

    def _gained(self, before: Float64Array) -> Float64Array:
        """(n, A) shares of its motion by which an unsteady arm gets ahead in a step."""
        layout, size = self._layout, len(self._is_of_arm)
        seeds, steps = (before[:, column][:, 0].astype(np.int64) for column in (layout.seed, layout.step))
        now, last = (uniform_noise(seeds, number, size) for number in (steps + 1, steps))
        return before[:, layout.unsteadiness] * _UNIT * (now - np.where(steps[:, None] > 0, last, 0.0))

    def _yielding(self, wanted: Float64Array, before: Float64Array) -> Float64Array:
        limit = before[:, self._layout.force_limit]
        load = self._mechanism.load(before[:, self._layout.sensors])
        force = np.linalg.norm(load, axis=1, keepdims=True)
        direction = load / np.maximum(force, _TINY)
        against = np.maximum(0.0, -np.sum(wanted * direction, axis=1, keepdims=True))
        kept = np.where(limit < UNLIMITED_N, np.clip(2.0 - 2.0 * force / limit, 0.0, 1.0), 1.0)
        return wanted + (1.0 - kept) * against * direction
