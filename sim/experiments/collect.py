"""Collection of demonstrations in process: worker processes simulate, this process writes.

An episode depends only on its seed, and the seeds of a shard only on its number. So a data set does not depend on the
number of workers, and collection resumes where it stopped after a kill.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reskill_core.config import config_to_dict
from reskill_core.data import DatasetSpec, DatasetWriter, Episode, read_header
from reskill_core.data.manifest import shard_name
from reskill_core.errors import ConfigError, DataError, SimulationError
from reskill_core.parameters import MAX_SEED, parameter
from reskill_core.progress import progress_bar
from reskill_core.seeding import foreign_demonstrations
from reskill_core.spec import TaskSpec
from reskill_core.workers import WorkerPool
from reskill_sim.engine.episodes import run_episodes
from reskill_sim.engine.family import DEFAULT_NOISE_RANGE, MIXED
from reskill_sim.engine.interfaces import Demonstrator
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.evaluation.worlds import world_of
from reskill_sim.families import family_of, get_task

# Environments per worker: a whole shard of the default size, so that few steps have a small batch.
BATCH = 128
_PROVENANCE = "collection"


@dataclass(frozen=True)
class CollectConfig:
    """Configuration of a collection.

    Attributes:
        task: name of the task.
        episodes: final number of episodes in the data set.
        out: folder of the data set.
        kind: demonstrator, or ``mixed`` for all of the task's.
        noise_range: lowest and highest noise scale of an episode, in action units.
        first_seed: seed of the first episode; the others count up from it.
        episodes_per_shard: episodes in one file.
        profile: fidelity profile of the simulator.
        variation: randomisation of physics, perception and latency.
        task_settings: settings of the task that differ from the default, as its family defines them.
        workers: number of simulating processes; 0 is one per core.
    """

    task: str = "block"
    episodes: int = parameter(1000, low=1, high=10**8)
    out: str = "runs/data/block"
    kind: str = MIXED
    noise_range: tuple[float, float] = parameter(DEFAULT_NOISE_RANGE, low=0.0, high=10.0)
    first_seed: int = parameter(0, low=0, high=MAX_SEED)
    episodes_per_shard: int = parameter(100, low=1, high=10**5)
    profile: str = "exact"
    variation: Variation = NOMINAL
    task_settings: dict[str, Any] = field(default_factory=dict)
    workers: int = parameter(0, low=0, high=256)

    def violations(self) -> list[str]:
        """Check rules that involve several fields."""
        low, high = self.noise_range
        turned = [] if low <= high else [f"noise_range: must be lowest, highest, got {low}, {high}"]
        return turned + foreign_demonstrations(self.first_seed, self.episodes, "first_seed")

    @property
    def num_workers(self) -> int:
        """Number of worker processes."""
        return self.workers or os.cpu_count() or 1


@dataclass
class CollectReport:
    """Summary of a run of :func:`collect`.

    Attributes:
        num_episodes: episodes in the data set now.
        num_new: episodes added by this run.
        num_steps: control steps added by this run.
        num_successes: successful new episodes, by demonstrator.
        num_by_source: new episodes, by demonstrator.
        num_diverged: episodes left out because the physics diverged.
        duration_s: wall-clock time [s].
    """

    num_episodes: int = 0
    num_new: int = 0
    num_steps: int = 0
    num_diverged: int = 0
    duration_s: float = 0.0
    num_successes: dict[str, int] = field(default_factory=dict)
    num_by_source: dict[str, int] = field(default_factory=dict)

    def add(self, episodes: list[Episode]) -> None:
        """Count new episodes."""
        for episode in episodes:
            self.num_new += 1
            self.num_steps += episode.num_steps
            self.num_by_source[episode.source] = self.num_by_source.get(episode.source, 0) + 1
            self.num_successes[episode.source] = self.num_successes.get(episode.source, 0) + episode.success


@dataclass(frozen=True)
class _Job:
    """The episodes of one shard."""

    config: CollectConfig
    index: int
    num_episodes: int

    @property
    def seeds(self) -> range:
        first = self.config.first_seed + self.index * self.config.episodes_per_shard
        return range(first, first + self.num_episodes)


def dataset_spec(config: CollectConfig) -> DatasetSpec:
    """Return the specification of the data set that a configuration collects."""
    task = get_task(config.task, config.variation, config.task_settings)
    return DatasetSpec(task.spec, config.profile, task.make_env(profile=config.profile).state_dim)


def collect(config: CollectConfig, show_progress: bool = True) -> CollectReport:
    """Bring a data set up to the configured number of episodes.

    Raises:
        ConfigError: the configuration is inconsistent, or the data set was collected with another one.
        DataError: the folder has other contents, or cannot be written.
        SimulationError: a worker died.
    """
    spec = dataset_spec(config)
    _demonstrator(config, spec.task)
    provenance = {_PROVENANCE: _identity(config)}
    report = CollectReport()
    started = time.monotonic()
    world = world_of(config.profile, config.variation, spec.task.settings)
    with DatasetWriter(config.out, spec, provenance=provenance, world=world) as writer:
        _require_same_collection(config, writer)
        jobs = _open_jobs(config, writer)
        progress = progress_bar(
            shown=show_progress, total=config.episodes, initial=writer.num_episodes, unit="episodes"
        )
        with progress, closing(_simulate(jobs, config.num_workers)) as simulated:
            for job, episodes in simulated:
                if episodes:
                    writer.add_shard(episodes, index=job.index)
                report.add(episodes)
                report.num_diverged += job.num_episodes - len(episodes)
                progress.update(len(episodes))
        report.num_episodes = writer.num_episodes
    report.duration_s = time.monotonic() - started
    return report


def _identity(config: CollectConfig) -> dict[str, object]:
    """Settings that must not change when a collection is resumed."""
    fixed = replace(config, episodes=1, workers=0, out="")
    settings = {key: value for key, value in config_to_dict(fixed).items() if key not in ("episodes", "workers", "out")}
    if not config.task_settings:  # as in data sets of tasks without settings, and of earlier versions
        del settings["task_settings"]
    return settings


def _require_same_collection(config: CollectConfig, writer: DatasetWriter) -> None:
    if not writer.indices:
        return
    header = read_header(writer.folder / shard_name(min(writer.indices)))
    before, now = header.provenance.get(_PROVENANCE), _identity(config)
    if not isinstance(before, dict):
        raise DataError(f"{writer.folder} was not collected in process; choose another folder, and merge the two later")
    differing = [
        f"{key}: {before.get(key)!r} there, {now.get(key)!r} now"
        for key in (*now, *(before.keys() & {"task_settings"} - now.keys()))
        if before.get(key) != now.get(key)
    ]
    if differing:
        raise ConfigError(
            f"{writer.folder} was collected with other settings, choose another folder:\n"
            + "\n".join(f"  - {line}" for line in differing)
        )


def _open_jobs(config: CollectConfig, writer: DatasetWriter) -> Iterator[_Job]:
    missing, index = config.episodes - writer.num_episodes, 0
    while missing > 0:
        if index not in writer.indices:
            job = _Job(config, index, min(missing, config.episodes_per_shard))
            missing -= job.num_episodes
            yield job
        index += 1


def _simulate(jobs: Iterator[_Job], workers: int) -> Generator[tuple[_Job, list[Episode]], None, None]:
    """Run jobs in worker processes, with at most two per worker in flight."""
    with WorkerPool(workers) as pool:
        running: dict[Future[list[Episode]], _Job] = {}
        try:
            for job in jobs:
                running[pool.submit(_run_job, job)] = job
                if len(running) >= 2 * workers:
                    yield from _finished(running)
            while running:
                yield from _finished(running)
        except BrokenProcessPool as error:
            raise SimulationError("a worker process died; finished shards are kept, run it again to resume") from error


def _finished(running: dict[Future[list[Episode]], _Job]) -> Iterator[tuple[_Job, list[Episode]]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in sorted(done, key=lambda future: running[future].index):
        yield running.pop(future), future.result()


def _run_job(job: _Job) -> list[Episode]:
    config = job.config
    batch = min(BATCH, job.num_episodes)
    task = get_task(config.task, config.variation, config.task_settings)
    environments = task.make_env(batch, config.profile, divergence_folder=Path(config.out) / "diverged")
    demonstrator = _demonstrator(config, task.spec, batch)
    episodes = run_episodes(
        environments,
        demonstrator,
        job.seeds,
        describe=lambda place: (demonstrator.source(place), float(demonstrator.noise_scale[place])),
    )
    return sorted(episodes, key=lambda episode: episode.seed)


def _demonstrator(config: CollectConfig, task: TaskSpec, num_envs: int = 1) -> Demonstrator:
    family = family_of(config.task)
    return family.make_demonstrator(config.task, config.kind, config.noise_range, num_envs, task.settings)


def summary_lines(config: CollectConfig, report: CollectReport) -> list[str]:
    """Format the summary of a run."""
    lines = [f"{config.out}: {report.num_episodes} episodes, {report.num_new} new"]
    if report.num_new:
        seconds = max(report.duration_s, 1e-9)
        lines.append(
            f"  {report.num_new / seconds:.0f} demonstrations/s, {report.num_steps / seconds:.0f} control steps/s"
        )
    for source, count in sorted(report.num_by_source.items()):
        lines.append(f"  {source}: {report.num_successes[source]} of {count} succeeded")
    if report.num_diverged:
        lines.append(f"  {report.num_diverged} episodes left out: the physics diverged")
    return lines
