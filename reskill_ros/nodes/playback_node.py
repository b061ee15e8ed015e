"""playback_node: executes a recorded episode again, and reports how far its end is from the recorded one."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.nodes.playback_node")

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rclpy.node import Node
from rclpy.task import Future

from reskill_core.data import DemoDataset
from reskill_core.errors import DataError
from reskill_core.files import atomic_write_json, require_writable_file
from reskill_core.parameters import parameter
from reskill_ros.msg import SkillAction
from reskill_ros.nodes.policy_server import PolicyServer
from reskill_ros.plumbing import qos
from reskill_ros.plumbing.diagnostics import Diagnostics, Report
from reskill_ros.plumbing.inputs import Inputs
from reskill_ros.plumbing.node_process import run
from reskill_ros.plumbing.params import Parameters
from reskill_ros.recording.episode_playback import EpisodePlayback
from reskill_ros.recording.episode_store import labelled

_CHECK_PERIOD_S = 0.02


@dataclass(frozen=True)
class PlaybackParameters:
    """Parameters of playback_node."""

    dataset: str = parameter("", "Folder of the data set.", read_only=True)
    episode: int = parameter(0, "Index of the episode in the data set, from 0.", low=0, high=10**9, read_only=True)
    wait_for_gate: bool = parameter(
        True,
        "Stand still until commands pass the gate, that is, until it is armed; false in a simulator.",
        read_only=True,
    )
    report: str = parameter("", "JSON file to write the deviations to; empty for none.", read_only=True)


class PlaybackNode(Node):
    """Node that plays an episode back once.

    Attributes:
        playback: the episode.
        done: Future of the exit code.
    """

    def __init__(self) -> None:
        super().__init__("playback_node")
        self.done: Future = Future()
        self._resources = ExitStack()
        values = Parameters(self, PlaybackParameters()).values
        dataset = DemoDataset.open(values.dataset)
        if values.episode >= dataset.num_episodes:
            raise DataError(
                f"episode {values.episode}: {values.dataset} has the episodes 0 to {dataset.num_episodes - 1}"
            )
        if values.report:
            require_writable_file(Path(values.report), DataError)
        self._values, task = values, dataset.spec.task
        episode = dataset.episode(values.episode)
        self._label = episode.label
        self.playback = EpisodePlayback(episode, task, values.wait_for_gate)
        self.diagnostics = Diagnostics(self, self._report)
        self._resources.callback(self.diagnostics.close)
        server = PolicyServer(
            self,
            self.playback,
            task,
            lambda: (episode.source, episode.noise_scale),
            self.diagnostics,
            0,
            self._resources,
        )
        self._resources.enter_context(server.serving())
        self._inputs = Inputs(self, self.diagnostics.publish)
        self._resources.callback(self._inputs.close)
        self._inputs.listen(SkillAction, "executed_action", lambda message: self.playback.begin(), qos.NEWEST)
        self.create_timer(_CHECK_PERIOD_S, self._finish)
        what = f"episode {values.episode}, {episode.num_steps} steps{labelled(episode.label)}"
        self.get_logger().info(f"{what}; arm the gate to play it back" if values.wait_for_gate else what)

    def _finish(self) -> None:
        if not self.playback.over or self.done.done():
            return
        start, end = self.playback.start, self.playback.end
        rows = [f"  {name}: {start[name]:.4f} at the start, {end[name]:.4f} at the end" for name in end]
        count = self.playback.steps
        self.get_logger().info(f"deviation from the recorded episode, {count} steps [m or rad]:\n" + "\n".join(rows))
        if self._values.report:
            played = {"dataset": self._values.dataset, "episode": self._values.episode, "label": self._label}
            document = {**played, "steps": count, "start": start, "end": end}
            atomic_write_json(Path(self._values.report), document)
        self.done.set_result(0)

    def _report(self, report: Report) -> None:
        report.state = "over" if self.playback.over else "playing" if self.playback.steps else "waiting"
        report.values = {"label": self._label, "steps": self.playback.steps}

    def destroy_node(self) -> None:
        """Release everything."""
        self._resources.close()
        super().destroy_node()


def main(args: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run(PlaybackNode, args=args)
