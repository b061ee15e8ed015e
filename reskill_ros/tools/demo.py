"""``make demo``: trained agents at work, then the whole chain that leads there, small.

1. The agents that ship with the package drive the simulator over ROS on all tasks: Fetch, the kitchen and the maze.
2. Collect, record over ROS, learn skills, evaluate them, drive with them, replay, draw.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take long
    from reskill_core.process import start

    start("reskill_ros.tools.demo")

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reskill_core.command_line import run_command
from reskill_core.data import DemoDataset, merge
from reskill_core.errors import ReskillError
from reskill_core.files import atomic_write_json, require_writable_folder
from reskill_core.parameters import parameter
from reskill_core.results import SKILLS_FILE
from reskill_ros.graphs.supervisor import Process, supervise
from reskill_sim.cli.render import draw, recorded_scenes

TASK = "block"
# File that marks a folder created by a demonstration.
MARKER = ".reskill-demo"
AGENT_TASKS = ("slippery_push", "clean_up", "pyramid_stack", "complex_hook", "kitchen", "maze_images")
# Tasks with long episodes, of which one shows enough.
LONG_TASKS = ("kitchen", "maze_images")


@dataclass(frozen=True)
class DemoConfig:
    """Sizes of the demonstration run.

    Attributes:
        out: folder for all results; those of the last run are deleted.
        agent_episodes: episodes of each trained agent; one of tasks with long episodes.
        episodes: demonstrations collected in process.
        ros_episodes: demonstrations recorded over ROS.
        training_steps: updates of the skill module.
        evaluation_episodes: episodes of each diagnostic.
        policy_episodes: episodes in which the policy drives the simulator, in each pacing.
    """

    out: Path = Path("runs/demo")
    agent_episodes: int = parameter(2, low=1, high=10**6)
    episodes: int = parameter(1500, low=1, high=10**6)
    ros_episodes: int = parameter(4, low=1, high=10**6)
    training_steps: int = parameter(3000, low=1, high=10**6)
    evaluation_episodes: int = parameter(100, low=1, high=10**6)
    policy_episodes: int = parameter(4, low=1, high=10**6)


@dataclass(frozen=True)
class Stage:
    """Result of one stage, a row of the final table."""

    name: str
    duration_s: float
    outcome: str


class Demo:
    """Sequence of stages, each of which runs commands that a user could type."""

    def __init__(self, config: DemoConfig) -> None:
        self._config = config
        self._out = config.out
        self._stages: list[Stage] = []

    def run(self) -> list[Stage]:
        """Run all stages.

        Raises:
            ReskillError: a stage failed; its output says why.
        """
        self._make_room()
        for task in AGENT_TASKS:
            self._stage(f"{task} over ROS", partial(self._show_agent, task))
        self._stage("draw the agents", self._draw_agents)
        self._stage("collect in process", self._collect)
        self._stage("record over ROS", self._record)
        self._stage("learn skills", self._learn)
        self._stage("evaluate skills", self._evaluate)
        self._stage("drive over ROS, lockstep", lambda: self._drive("lockstep"))
        self._stage("drive over ROS, 25 Hz", lambda: self._drive("realtime"))
        self._stage("replay the bag", self._replay)
        self._stage("draw the video", self._draw)
        atomic_write_json(self._out / "summary.json", [vars(stage) for stage in self._stages])
        return self._stages

    def _make_room(self) -> None:
        """Delete the results of the last run, and nothing else."""
        marker = self._out / MARKER
        if self._out.is_dir() and any(self._out.iterdir()) and not marker.is_file():
            raise ReskillError(
                f"{self._out} holds something else than results of a demonstration; choose another --out"
            )
        if self._out.is_dir():
            shutil.rmtree(self._out)
        require_writable_folder(self._out, ReskillError)
        marker.touch()

    def _stage(self, name: str, run: Callable[[], str]) -> None:
        print(f"\n== {name}", flush=True)
        start = time.monotonic()
        outcome = run()
        self._stages.append(Stage(name, time.monotonic() - start, outcome))

    def _show_agent(self, task: str) -> str:
        folder = self._out / "agents" / task
        folder.mkdir(parents=True)
        report, dataset = folder / "report.json", folder / "data"
        # Without skills:= it is the agent that ships with the package for the task.
        _run_graph(
            "policy",
            task=task,
            episodes=1 if task in LONG_TASKS else self._config.agent_episodes,
            pacing="lockstep",
            report=report,
            dataset=dataset,
        )
        found = json.loads(report.read_text())
        return f"{found['success_rate']:.0%} of {found['episodes']} succeed, mean return {found['mean_return']:.1f}"

    def _draw_agents(self) -> str:
        videos = []
        for task in AGENT_TASKS:
            videos.append(self._out / "agents" / f"{task}.mp4")
            _draw_all(self._out / "agents" / task / "data", videos[-1])
        return ", ".join(video.name for video in videos)

    def _collect(self) -> str:
        data = self._out / "data" / "in_process"
        _reskill("collect", f"collect/{TASK}.yaml", f"episodes={self._config.episodes}", f"out={data}")
        dataset = DemoDataset.open(data)
        return f"{dataset.num_episodes} demonstrations, {dataset.num_steps} steps, {dataset.success.mean():.1%} succeed"

    def _record(self) -> str:
        data = self._out / "data" / "over_ros"
        # Other seeds than in process, so that the two can be merged.
        _run_graph("collect", task=TASK, episodes=self._config.ros_episodes, dataset=data, seed=1_000_000)
        dataset = DemoDataset.open(data)
        merge([self._out / "data" / "in_process", data], self._out / "data" / "all")
        return f"{dataset.num_episodes} demonstrations, {dataset.num_steps} steps, added to the others"

    def _learn(self) -> str:
        data, steps = self._out / "data" / "all", self._config.training_steps
        _reskill("train-skills", f"skills/{TASK}.yaml", f"data={data}", f"out={self._out / 'skills'}", f"steps={steps}")
        return f"{steps} updates, plots in skills/plots"

    def _evaluate(self) -> str:
        out = self._out / "evaluation"
        _reskill(
            "evaluate",
            str(self._out / "skills"),
            f"--data={self._out / 'data' / 'all'}",
            f"--episodes={self._config.evaluation_episodes}",
            f"--out={out}",
        )
        found = json.loads((out / SKILLS_FILE).read_text())
        rebuilt = found["reconstruction"]["all"]["mean"]
        reached = {source: measures["reached"]["mean"] for source, measures in found["rollouts"].items()}
        return (
            f"{rebuilt:.0%} reconstructed; goal reached by prior {reached['prior']:.0%}, "
            f"N(0, I) {reached['standard_normal']:.0%}, random {reached['uniform']:.0%}"
        )

    def _drive(self, pacing: str) -> str:
        report = self._out / "policy" / f"{pacing}.json"
        report.parent.mkdir(parents=True, exist_ok=True)
        recorded = {"dataset": self._out / "policy" / "data", "bag": self._out / "policy" / "bag"}
        _run_graph(
            "policy",
            task=TASK,
            skills=self._out / "skills",
            episodes=self._config.policy_episodes,
            pacing=pacing,
            report=report,
            **(recorded if pacing == "lockstep" else {}),
        )
        found = json.loads(report.read_text())
        return f"{found['success_rate']:.0%} of {found['episodes']} succeed, {found['steps_per_s']:.1f} control steps/s"

    def _replay(self) -> str:
        report = self._out / "policy" / "replay.json"
        _run_graph("replay", bag=self._out / "policy" / "bag", skills=self._out / "skills", report=report)
        found = json.loads(report.read_text())
        return f"{found['compared']} actions recomputed, {'all' if found['equal'] else 'NOT all'} equal to the recorded"

    def _draw(self) -> str:
        video = self._out / "policy.mp4"
        return f"{video.name}, {_draw_all(self._out / 'policy' / 'data', video)} frames"


def table(stages: Sequence[Stage]) -> str:
    """Format the stages for the terminal."""
    lines = [f"{stage.name:26}{stage.duration_s:7.1f} s  {stage.outcome}" for stage in stages]
    total = sum(stage.duration_s for stage in stages)
    return "\n".join([*lines, f"{'all':26}{total:7.1f} s"])


def _draw_all(data: Path, video: Path) -> int:
    """Render all episodes of a data set; returns the number of control steps."""
    dataset = DemoDataset.open(data)
    draw(recorded_scenes(dataset, range(dataset.num_episodes)), video, 480, 360)
    return dataset.num_steps


def _reskill(verb: str, *arguments: str) -> None:
    _run("reskill_sim.cli.main", verb, *arguments)


def _run(module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", module, *arguments]
    outcome = supervise([Process("", command, primary=True)])
    if outcome.signalled:
        raise KeyboardInterrupt
    if code := outcome.exit_code:
        raise ReskillError(f"{' '.join(command[2:])} ended with exit code {code}; its output above says why")


def _run_graph(graph: str, **arguments: object) -> None:
    _run("reskill_ros.graphs.process_launcher", graph, *(f"{name}:={value}" for name, value in arguments.items()))


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reskill_ros.tools.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=DemoConfig.out, help="folder for the results (default: runs/demo)")

    def work() -> int:
        out = parser.parse_args(args).out
        stages = Demo(DemoConfig(out=out)).run()
        print(
            f"\n{table(stages)}\n\nresults in {out}: agents/ (videos), data/, skills/ (plots, checkpoints), "
            "evaluation/, policy.mp4"
        )
        return 0

    return run_command(work)
