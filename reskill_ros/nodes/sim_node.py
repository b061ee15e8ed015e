"""sim_node: simulated robot. Publishes its sensors and ``/clock``, and accepts the commands of a real arm."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.nodes.sim_node")

import time
from collections.abc import Sequence
from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from rclpy.timer import Timer
from std_srvs.srv import SetBool

from reskill_core.errors import GraphError, ReskillError
from reskill_core.files import atomic_write_json, require_writable_file
from reskill_ros.plumbing.diagnostics import Diagnostics, Report
from reskill_ros.plumbing.node_process import run
from reskill_ros.plumbing.params import Parameters
from reskill_ros.plumbing.task_settings import parse_settings
from reskill_ros.simulation.command_buffer import Command
from reskill_ros.simulation.sim_inputs import SimInputs
from reskill_ros.simulation.sim_parameters import LOCKSTEP, SimParameters
from reskill_ros.simulation.sim_publisher import SimPublisher
from reskill_ros.simulation.sim_views import SimViews
from reskill_ros.simulation.simulated_robot import SimulatedRobot
from reskill_ros.srv import ResetEpisode, StepSimulation
from reskill_sim.engine.variation import parse_variation

# Period at which a state without a response is published again, for nodes that start late or missed it.
REPEAT_PERIOD_S = 0.5
# Age of a stale command in control periods: the robot stops, as with a real driver.
STALE_PERIODS = 5
# Longest wait for recorders after the last episode in real time.
FAREWELL_S = 10.0


class SimNode(Node):
    """Node of a :class:`~reskill_ros.simulation.simulated_robot.SimulatedRobot`."""

    _is_up = False

    def __init__(self) -> None:
        super().__init__("sim_node")
        self.done: Future = Future()
        self._config = Parameters(self, SimParameters())
        values = self._config.values
        if self.get_parameter("use_sim_time").value:
            raise GraphError("sim_node publishes /clock and cannot live by it; set its use_sim_time to false")
        if values.report:
            require_writable_file(Path(values.report), GraphError)
        variation, settings = parse_variation(values.variation), parse_settings(values.task_settings)
        self.robot = SimulatedRobot(values.task, values.profile, variation, values.seed, settings)
        self.paused = False
        self._running = not values.hold_until_ready
        self._episode_start_ns = self.robot.stamp_ns
        self._last_publish_s = self._over_since_s = 0.0
        self._reported = (time.monotonic(), self.robot.stamp_ns)
        self._publisher = SimPublisher(self, values.frame_id)
        self._views = SimViews(self, values)
        self.diagnostics = Diagnostics(self, self._report, "sim/status")
        self._inputs = SimInputs(self, self._config, lambda: self.robot.spec, self.diagnostics, self._answered)
        self.create_service(ResetEpisode, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/pause", self._on_pause)
        self.create_service(StepSimulation, "~/step", self._on_step)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._pacer: Timer | None = None
        if values.pacing != LOCKSTEP:
            self._start_pacing()
        self.create_timer(REPEAT_PERIOD_S / 2, self._repeat, clock=self._steady)
        self._publish()
        self._is_up = True

    # ------------------------------------------------------------------ what happens

    def _answered(self) -> None:
        """Advance if the robot waits for the response to its state and has received it."""
        waits = self._config.values.pacing == LOCKSTEP or not self._running
        if not waits or self._halted or self._inputs.unacknowledged(self.robot.stamp_ns):
            return
        command = self._inputs.commands.pop_answer(self.robot.stamp_ns, self.robot.spec.action.names)
        if command is not None:
            self._running = True
            self._advance(command)

    def _tick(self) -> None:
        """Advance by one control period of the wall clock."""
        if self._config.values.real_time_factor != self._paced_factor:
            self._start_pacing()
        if self._running and not self._halted:
            since_s = time.monotonic() - STALE_PERIODS * self._wall_period_s
            self._advance(self._inputs.commands.newest(self._episode_start_ns, since_s))

    def _advance(self, command: Command, interfered: bool = False) -> None:
        if not self.robot.over:
            self.robot.advance(command, interfered)
            self._over_since_s = time.monotonic()
            if self.robot.diverged:
                self.get_logger().error(f"the simulation diverged at step {self.robot.step}; the episode is not valid")
                self.diagnostics.publish()
        elif self._complete:
            # Recorders may still process the last state; lockstep has already waited for that.
            recorded = not self._inputs.unacknowledged(self.robot.stamp_ns)
            if recorded or time.monotonic() - self._over_since_s > FAREWELL_S:
                self.done.set_result(0)
            return
        elif self._config.values.auto_reset:
            self._begin()
        self._publish()
        if self.robot.diverged and self._config.values.reset_on_divergence:
            self._begin()
            self._publish()

    def _begin(self, task: str = "", seed: int | None = None) -> None:
        self.robot.begin(task, seed)
        self._episode_start_ns = self.robot.stamp_ns
        self._inputs.commands.clear()

    @property
    def _complete(self) -> bool:
        return 0 < self._config.values.episodes <= len(self.robot.finished)

    @property
    def _halted(self) -> bool:
        stays_over = self.robot.over and not self._config.values.auto_reset and not self._complete
        return self.paused or self.robot.diverged or stays_over or self.done.done()

    def _publish(self) -> None:
        self._last_publish_s = time.monotonic()
        self._publisher.publish(self.robot)
        self._views.show(self.robot)

    def _repeat(self) -> None:
        if time.monotonic() - self._last_publish_s >= REPEAT_PERIOD_S and not self.done.done():
            self._publish()

    def _start_pacing(self) -> None:
        """(Re)start the timer that paces the robot in real time."""
        if self._pacer is not None:
            self.destroy_timer(self._pacer)
        self._paced_factor = self._config.values.real_time_factor
        self._wall_period_s = self.robot.period_ns * 1e-9 / self._paced_factor
        self._pacer = self.create_timer(self._wall_period_s, self._tick, clock=self._steady)

    # ------------------------------------------------------------------ services

    def _on_reset(self, request: ResetEpisode.Request, response: ResetEpisode.Response) -> ResetEpisode.Response:
        try:
            self._begin(request.task, None if request.seed == -1 else request.seed)
        except ReskillError as error:
            response.message = str(error)
        else:
            self._publish()
            response.success = True
            response.message = f"episode {self.robot.episode_id} of {self.robot.task}, seed {self.robot.seed}"
        response.episode_id = self.robot.episode_id
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self.paused = request.data
        response.success = True
        response.message = "paused" if self.paused else "running"
        self._answered()
        return response

    def _on_step(self, request: StepSimulation.Request, response: StepSimulation.Response) -> StepSimulation.Response:
        taken = 0
        if not self.paused:
            response.message = "only a paused simulation can be stepped; call ~/pause first"
        elif request.steps < 1:
            response.message = "steps must be at least 1"
        else:
            while taken < request.steps and not self.robot.over:
                answer = self._inputs.commands.pop_answer(self.robot.stamp_ns, self.robot.spec.action.names)
                self._advance(answer or {}, interfered=answer is None)
                taken += 1
            response.success = taken == request.steps
            response.message = f"{taken} of {request.steps} steps taken"
            if not response.success:
                response.message += "; the episode is over, call ~/reset for the next one"
        return response

    # ------------------------------------------------------------------ what it tells

    def _report(self, report: Report) -> None:
        now, then = (time.monotonic(), self.robot.stamp_ns), self._reported
        self._reported = now
        factor = (now[1] - then[1]) * 1e-9 / max(now[0] - then[0], 1e-9)
        values = self._config.values
        report.state = "paused" if self.paused else "running" if self._running else "waiting for the first answer"
        if self.robot.diverged:
            report.error("the simulation diverged; call ~/reset to start the next episode")
        elif values.pacing == LOCKSTEP and self._running and not self._halted and factor == 0:
            missing = self._inputs.unacknowledged(self.robot.stamp_ns)
            report.warn(f"waiting for {', '.join(missing) or 'the command'} to answer step {self.robot.step}")
        elif values.pacing != LOCKSTEP and self._running and not self._halted and factor < 0.95 * self._paced_factor:
            report.warn(f"slower than asked for: real-time factor {factor:.2f} instead of {self._paced_factor:g}")
        self._inputs.report(report)
        report.values = {
            "real_time_factor": round(factor, 3),
            "task": self.robot.task,
            "episode": self.robot.episode_id,
            "seed": self.robot.seed,
            "step": self.robot.step,
        }

    def destroy_node(self) -> None:
        """Report the results of the episodes and close the window."""
        if self._is_up:
            if self.robot.finished:
                self.get_logger().info(self.robot.describe())
            if self._config.values.report:
                atomic_write_json(Path(self._config.values.report), self.robot.summary())
            self._views.close()
        super().destroy_node()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(SimNode, args=args)
