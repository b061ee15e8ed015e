"""A recorder node, and everybody whose messages it records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from ros_graph import Graph, MakeGraph
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from reskill_core.data import Episode
from reskill_core.runtime import SkillAction as CoreSkillAction
from reskill_ros.msg import EpisodeState, Observation, SkillAction
from reskill_ros.nodes.recorder_node import RecorderNode
from reskill_ros.plumbing import convert, qos
from reskill_ros.srv import StartRecording, StopRecording
from reskill_sim.families import get_task

TASK = get_task("block").spec
PERIOD_NS = 40_000_000
STATE_DIM = 3


def episode(seed: int = 0, steps: int = 4, success: bool = True) -> Episode:
    """Made-up contents, all different."""
    rng = np.random.default_rng(seed)
    return Episode(
        observation=rng.normal(size=(steps, TASK.obs.dim)).astype(np.float32),
        action=rng.uniform(-1, 1, (steps, 4)).astype(np.float32),
        executed_action=rng.uniform(-1, 1, (steps, 4)).astype(np.float32),
        reward=rng.normal(size=steps).astype(np.float32),
        sim_state=rng.normal(size=(steps, STATE_DIM)),
        final_observation=rng.normal(size=TASK.obs.dim).astype(np.float32),
        seed=seed,
        success=success,
        terminated=success,
        truncated=not success,
        noise_scale=0.125,
        source="push",
    )


class Bench:
    """A recorder, and the nodes around it played from episodes."""

    def __init__(self, graph: Graph, topics: str = "observation skill_action executed_action episode") -> None:
        self.graph = graph
        self.acknowledged = graph.listen(Header, "recorder/acknowledge")
        self.statuses = graph.listen(DiagnosticStatus, "recorder/status", qos.LATCHED)
        self.node = graph.add(RecorderNode())
        kinds = {"observation": Observation, "episode": EpisodeState}
        self.publishers = {
            name: graph.publisher(kinds.get(name, SkillAction), name, qos.RECORDED) for name in topics.split()
        }
        self.next_ns = PERIOD_NS
        self.next_id = 1

    def play(
        self, shown: Episode, lose: tuple[tuple[str, int], ...] = (), spin: bool = True, **changes: Any
    ) -> list[int]:
        """Publish an episode.

        Args:
            shown: the episode.
            lose: messages, as (topic, step), that do not arrive.
            spin: let the recorder run meanwhile.
            changes: fields of the last EpisodeState to change.

        Returns:
            The stamps.
        """
        stamps = [self.next_ns + step * PERIOD_NS for step in range(shown.num_steps + 1)]
        for step, stamp_ns in enumerate(stamps):
            for topic, message in self._messages(shown, step, **changes).items():
                if (topic, step) not in lose and topic in self.publishers:
                    message.header.stamp = convert.ns_to_stamp(stamp_ns)
                    self.publishers[topic].publish(message)
            if spin:
                self.graph.executor.spin_once(timeout_sec=0)
        self.next_ns = stamps[-1] + PERIOD_NS
        self.next_id += 1
        return stamps

    def send(self, shown: Episode, step: int, topic: str, stamp_ns: int) -> None:
        """Publish one message of an episode."""
        message = self._messages(shown, step)[topic]
        message.header.stamp = convert.ns_to_stamp(stamp_ns)
        self.publishers[topic].publish(message)

    def _messages(self, shown: Episode, step: int, **changes: Any) -> dict[str, Any]:
        last = step == shown.num_steps
        at = min(step, shown.num_steps - 1)
        answer = CoreSkillAction(
            action=shown.executed_action[at : at + 1],
            decoded_action=shown.action[at : at + 1],
            residual=np.zeros((1, 4), np.float32),
            residual_weight=np.ones(1, np.float32),
            latent=np.zeros((1, 0), np.float32),
            skill_step=np.zeros(1, np.int64),
        )
        values = (shown.final_observation if last else shown.observation[at]).astype(np.float64)
        state = {
            "reward": float(shown.reward[step - 1]) if step else 0.0,
            "success": last and shown.success,
            "terminated": last and shown.terminated,
            "truncated": last and shown.truncated,
            "valid": True,
            **(changes if last else {}),
        }
        # Not the order in which they belong together.
        return {
            "executed_action": convert.skill_action_message(answer, shown.source, shown.noise_scale),
            "skill_action": convert.skill_action_message(answer, shown.source, shown.noise_scale),
            "episode": EpisodeState(
                task=TASK.name,
                profile="exact",
                episode_id=self.next_id,
                seed=shown.seed,
                step=step,
                sim_state=convert.float64_array(shown.sim_state[at]),
                **state,
            ),
            "observation": Observation(task=TASK.name, values=convert.float64_array(values)),
        }

    def wait_for(self, name: str, count: int = 1) -> None:
        self.graph.spin_until(lambda: self.node.store.counts[name] == count, f"{count} {name}")

    def wait_for_status(self, words: str) -> DiagnosticStatus:
        self.graph.spin_until(lambda: self.statuses and words in self.statuses[-1].message, f"status {words!r}")
        return self.statuses[-1]

    def call(self, name: str, **fields: Any) -> Any:
        """Call one of the recorder's services."""
        kinds = {"start": StartRecording, "stop": StopRecording}
        return self.graph.call(kinds.get(name, Trigger), f"recorder_node/{name}", **fields)


def make_bench(make_graph: MakeGraph, folder: Path, topics: str = "", **parameters: Any) -> Bench:
    given = {"dataset": str(folder), "patience_s": 0.5, "min_free_gb": 0.0, **parameters}
    return Bench(make_graph(recorder_node=given), *([topics] if topics else []))


def assert_same(recorded: Episode, shown: Episode) -> None:
    for name, value in vars(shown).items():
        kept = getattr(recorded, name)
        if isinstance(value, np.ndarray):
            assert kept.dtype == value.dtype
            assert kept.tobytes() == value.tobytes(), name
        else:
            assert kept == value, name
