"""recorder_node: records episodes of the graph as demonstrations, one atomic shard per episode."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.nodes.recorder_node")

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from reskill_core.config import config_to_dict
from reskill_core.data import DatasetSpec, DataWorld
from reskill_core.data.world import REAL, deviations
from reskill_core.errors import DataError
from reskill_core.labels import label_fault
from reskill_core.provenance import simulator_version
from reskill_core.sensing import MessageError
from reskill_ros.msg import EpisodeState, Observation, SkillAction
from reskill_ros.plumbing import convert, qos
from reskill_ros.plumbing.clock import watch_clock
from reskill_ros.plumbing.diagnostics import Diagnostics, Report
from reskill_ros.plumbing.executor import serve_waiting_messages
from reskill_ros.plumbing.node_process import run
from reskill_ros.plumbing.params import Parameters
from reskill_ros.plumbing.served_task import task_spec
from reskill_ros.plumbing.topics import RECORDER_ACKNOWLEDGE, observed_image
from reskill_ros.recording import recorded_values
from reskill_ros.recording.episode_assembler import ACTION, EPISODE, EXECUTED, OBSERVATION, Assembled, EpisodeAssembler
from reskill_ros.recording.episode_store import EpisodeStore, labelled
from reskill_ros.recording.recorder_parameters import UNKNOWN, RecorderParameters
from reskill_ros.srv import StartRecording, StopRecording

_CHECK_PERIOD_S = 0.1
# Time without a message on a topic after which a warning is due, which is less than a second in all.
_SILENCE_S = 0.5
_FAILURE = "failure"
_VERDICTS = ("", "success", _FAILURE)
# Longest wait at shutdown for an incomplete episode; launchers kill a node after five seconds.
_FAREWELL_S = 2.0
_FAREWELL_POLL_S = 0.02


class RecorderNode(Node):
    """Recorder of demonstrations.

    Attributes:
        assembler: assembles episodes from messages.
        store: stores episodes.
    """

    _is_up = False

    def __init__(self) -> None:
        super().__init__("recorder_node")
        self.done: Future = Future()
        self._config = Parameters(self, RecorderParameters())
        values = self._config.values
        self._task = task_spec(values.task, values.skills, values.task_settings)
        self.assembler = EpisodeAssembler(self._task, values.driver_episodes, values.patience_s)
        self.store = EpisodeStore(Path(values.dataset))
        self._variation = _variation(values.variation)
        self._recorded_kind: tuple[str, int] | None = None
        self._failure = self._last = ""
        self._started_s = 0.0
        self._given_label = ""
        # Messages lost by the middleware, since the last episode and in total.
        self._lost: Counter[str] = Counter()
        self._all_lost: Counter[str] = Counter()
        self._resources = ExitStack()
        if not values.driver_episodes:
            self.store.open(DatasetSpec(self._task, REAL), DataWorld(REAL, settings=self._task.settings))
        self._acknowledge = self.create_publisher(Header, RECORDER_ACKNOWLEDGE, qos.STATE)
        sizes = self._task.obs.dim, self._task.action.dim
        self._listen(Observation, OBSERVATION, partial(recorded_values.observed, sizes[0]))
        self._listen(SkillAction, ACTION, partial(recorded_values.demonstrated, sizes[1]))
        self._listen(SkillAction, EXECUTED, partial(recorded_values.executed, sizes[1]))
        for feature in self._task.obs.images:
            self._listen(Image, observed_image(feature.name), partial(recorded_values.frame, feature))
        if values.driver_episodes:
            self._listen(EpisodeState, EPISODE, recorded_values.state)
        self.create_service(StartRecording, "~/start", self._on_start)
        self.create_service(StopRecording, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/discard", self._on_discard)
        self.create_timer(_CHECK_PERIOD_S, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME))
        watch_clock(self, self._forget, self._resources)
        self.diagnostics = Diagnostics(self, self._report, "recorder/status")
        self._silent: list[str] = []
        if values.auto_start:
            self._start()
        self._is_up = True

    # ------------------------------------------------------------------ what arrives

    def _listen(self, kind: type, topic: str, read: Callable[[Any], Any]) -> None:
        events = SubscriptionEventCallbacks(message_lost=lambda event: self._note_lost(topic, event.total_count_change))
        self.create_subscription(kind, topic, partial(self._take, topic, read), qos.RECORD, event_callbacks=events)

    def _take(self, topic: str, read: Callable[[Any], Any], message: Any) -> None:
        if getattr(message, "task", self._task.name) != self._task.name:
            self.diagnostics.counters["refused_other_task"] += 1
            return
        if topic == EPISODE:
            self._open_dataset(message)
        stamp = message.header.stamp
        try:
            value = read(message)
        except MessageError as error:
            self.diagnostics.counters[f"refused_{error.reason}"] += 1
            self.get_logger().warning(f"{topic} refused: {error}", throttle_duration_sec=1.0)
            return
        self.assembler.label = self._label
        is_whole = self.assembler.add(topic, convert.stamp_to_ns(stamp), value, time.monotonic())
        self._save_finished()
        if is_whole and not self.done.done():
            self._acknowledge.publish(Header(stamp=stamp))

    def _note_lost(self, topic: str, count: int) -> None:
        self._lost[topic] += count
        self._all_lost[topic] += count

    def _open_dataset(self, message: EpisodeState) -> None:
        kind = (message.profile, len(message.sim_state))
        if self.assembler.recording and kind != self._recorded_kind:
            world = DataWorld(message.profile, self._variation, simulator_version(), settings=self._task.settings)
            self.store.open(DatasetSpec(self._task, *kind), world)
            self._recorded_kind = kind

    @property
    def _label(self) -> str:
        """Label of episodes that start now."""
        return self._given_label or self._config.values.label

    def _start(self, label: str = "") -> None:
        self._started_s = time.monotonic()
        self._given_label = label
        self.assembler.label = self._label
        self.assembler.watch_from(self._started_s)
        self.assembler.start()

    def _check(self) -> None:
        self._warn_of_silence()
        limit_s, now_s = self._config.values.max_duration_s, time.monotonic()
        is_timed = self.assembler.recording and not self._config.values.driver_episodes
        if is_timed and 0 < limit_s < now_s - self._started_s:
            self.assembler.end(now_s, success=False, truncated=True)
            self.get_logger().info(f"{limit_s:g} s are over: the episode ends as a failure")
        self._save_finished()

    def _warn_of_silence(self) -> None:
        """Tell at once when a topic falls silent during an episode, and when it is heard again."""
        silent = self.assembler.silent(time.monotonic(), max(_SILENCE_S, 3 * self._task.control_period_s))
        if silent == self._silent:
            return
        if silent:
            self.get_logger().warning(f"nothing is recorded: silent are {', '.join(silent)}")
        else:
            self.get_logger().info("all topics are heard again; the episode has a gap")
        self._silent = silent
        self.diagnostics.publish()

    def _save_finished(self) -> None:
        for assembled in self.assembler.finished(time.monotonic()):
            self._save(assembled)

    def _forget(self) -> None:
        for assembled in self.assembler.forget():
            self._save(assembled)

    def _save(self, assembled: Assembled) -> None:
        values = self._config.values
        if self.done.done():
            return
        try:
            text = self.store.take(assembled, values, self._lost)
        except DataError as error:
            self._failure = f"episode with seed {assembled.seed} is lost: {error}"
            self.get_logger().error(self._failure)
            # With an episode limit, the node ends; without one, recording continues once there is space.
            if values.episodes:
                self.done.set_result(1)
            self.diagnostics.publish()
            return
        self._failure, self._last = "", text
        self._lost.clear()
        saved = self.store.counts["saved"]
        self.get_logger().info(f"{text} ({saved} of {values.episodes})" if values.episodes else text)
        if 0 < values.episodes <= saved:
            self.done.set_result(0)

    # ------------------------------------------------------------------ services

    def _on_start(self, request: StartRecording.Request, response: StartRecording.Response) -> StartRecording.Response:
        silent = [topic for topic in self.assembler.topics if self.count_publishers(topic) == 0]
        if fault := label_fault(request.label):
            response.message = fault
        elif self.assembler.recording:
            response.message = "already recording"
        elif self.assembler.completing:
            response.message = "the last episode is still being completed; try again"
        elif silent:
            response.message = f"nobody publishes {', '.join(silent)}"
        else:
            self._start(request.label)
            response.success, response.message = True, f"recording{labelled(self._label)}"
        return response

    def _on_stop(self, request: StopRecording.Request, response: StopRecording.Response) -> StopRecording.Response:
        if request.verdict not in _VERDICTS:
            response.message = f"unknown verdict {request.verdict[:60]!a}; success or failure, empty for success"
        elif fault := label_fault(request.label):
            response.message = fault
        elif not self.assembler.recording:
            response.message = "not recording"
        elif self._config.values.driver_episodes:
            response.success = True
            response.message = f"stopped; {self._dropped(self.assembler.stop())}"
        else:
            solved = request.verdict != _FAILURE
            self.assembler.end(time.monotonic(), success=solved, label=request.label)
            kept = "being saved" if solved or self._config.values.keep_failures else "left out, as all failures are"
            response.success, response.message = True, f"stopped; the episode is {kept}"
        return response

    def _on_discard(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self.assembler.discard()
        self._started_s = time.monotonic()
        self.assembler.watch_from(self._started_s)
        response.message = self._dropped(response.success)
        if response.success and self.assembler.recording:
            response.message += "; recording the next one"
        return response

    def _dropped(self, anything: bool) -> str:
        self.store.counts["dropped"] += anything
        return "the running episode is dropped" if anything else "no episode is running"

    # ------------------------------------------------------------------ what it tells

    def _report(self, report: Report) -> None:
        report.state = "recording" if self.assembler.recording else "idle"
        report.values = {**self.store.counts, **{f"lost_{topic}": count for topic, count in self._all_lost.items()}}
        report.values |= {"abandoned": self.assembler.abandoned, "label": self._label, "last_episode": self._last}
        if self._failure:
            report.error(self._failure)
        if self.diagnostics.growth("refused_other_task"):
            report.error(f"messages of another task than {self._task.name} are refused")
        overdue = self.assembler.overdue(time.monotonic(), self._config.values.patience_s)
        if self._silent:
            report.error(f"silent: {', '.join(self._silent)}")
        elif self.assembler.recording and overdue:
            report.warn(f"missing: {_listed(overdue)}")
        if self._lost:
            report.warn(f"the middleware lost: {_listed(self._lost)}")

    def destroy_node(self) -> None:
        """Finish complete episodes, log the summary and release the data set."""
        if self._is_up:
            self._finish()
            self.store.close()
            self._resources.close()
        super().destroy_node()

    def _finish(self) -> None:
        """Process queued and late messages of an episode, and account for every episode.

        All nodes of a graph are shut down at once and end at different times: messages may be queued here or still be
        published.
        """
        try:
            serve_waiting_messages(self)
            self.assembler.wind_down()
            self._await_the_last()
        except DataError as error:
            self.get_logger().error(str(error))
        for assembled in self.assembler.close():
            self._save(assembled)
        self.get_logger().info(self.summary)
        if self._all_lost:
            self.get_logger().warning(f"the middleware lost: {_listed(self._all_lost)}")

    def _await_the_last(self) -> None:
        end_s = time.monotonic() + min(self._config.values.patience_s, _FAREWELL_S)
        while not self.done.done():
            # Checked before taking messages: none follow once the publishers are gone.
            published = any(map(self.count_publishers, self.assembler.topics))
            serve_waiting_messages(self)
            self._save_finished()
            if not (published and self.assembler.awaited) or time.monotonic() > end_s:
                return
            time.sleep(_FAREWELL_POLL_S)

    @property
    def summary(self) -> str:
        """Summary of the episodes so far in one line."""
        return self.store.describe(self.assembler.abandoned)

    @property
    def exit_code(self) -> int:
        """Exit code; 1 if an episode to be recorded could not be written."""
        return int(self.store.counts["unwritten"] > 0)


def _listed(counts: Mapping[str, int]) -> str:
    """Format counts by topic."""
    return ", ".join(f"{count} of {topic}" for topic, count in counts.items())


def _variation(text: str) -> dict[str, Any] | None:
    """Parse the randomisation of the simulator; None if unknown.

    Raises:
        ConfigError: the text is invalid.
    """
    if text == UNKNOWN:
        return None
    if not text:
        return {}
    from reskill_sim.engine.variation import parse_variation

    return deviations(config_to_dict(parse_variation(text.split())))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(RecorderNode, args=args)
