"""Assembly of episodes from the messages of several topics, matched by stamp.

Pure logic without ROS and clocks: stamps are integers [ns], receive times are passed in from a steady clock [s].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.data import CompressedFrames, Episode, FrameCompressor
from reskill_core.data.compressed_frames import decompress_block
from reskill_core.spec import ImageFeature, TaskSpec
from reskill_ros.plumbing.topics import observed_image

# In addition, the topic of each image of the observation.
OBSERVATION, ACTION, EXECUTED, EPISODE = TOPICS = ("observation", "skill_action", "executed_action", "episode")
Row = dict[str, Any]


@dataclass(frozen=True)
class Demonstrated:
    """Demonstrated action of a step, which is learnt, with its source."""

    action: NDArray[np.float32]
    source: str
    noise_scale: float


@dataclass(frozen=True)
class State:
    """State of the driver's episode at one stamp."""

    episode_id: int
    seed: int
    step: int
    reward: float
    success: bool
    terminated: bool
    truncated: bool
    valid: bool
    sim_state: NDArray[np.float64]

    @property
    def last(self) -> bool:
        """Whether the episode ends at this step."""
        return self.terminated or self.truncated or not self.valid

    @property
    def succeeded(self) -> bool:
        """Whether the episode ends successfully at this step, by termination or time limit."""
        return self.success and (self.terminated or self.truncated)


_NO_STATE = State(0, -1, 0, 0.0, success=False, terminated=False, truncated=False, valid=True, sim_state=np.zeros(0))


@dataclass(frozen=True)
class Assembled:
    """Assembled episode, complete or not.

    Attributes:
        seed: seed of the episode; -1 if it has none.
        steps: number of steps.
        episode: the episode, up to the first gap; None without any step.
        missing: number of missing messages by topic; empty if the episode is complete.
        valid: whether the driver marks the episode as usable for training.
        success: whether the episode ended at its goal.
        over: whether the episode ended before the recording.
    """

    seed: int
    steps: int
    episode: Episode | None
    missing: dict[str, int]
    valid: bool
    success: bool
    over: bool = True


@dataclass
class _Running:
    """Episode being assembled: its label, stamps of its steps, newest state, and time of its end."""

    wanted: bool
    label: str
    stamps: dict[int, int] = field(default_factory=dict)
    newest: State | None = None
    last: State | None = None
    over_since_s: float = 0.0


class EpisodeAssembler:
    """Collector of messages by stamp until episodes are complete.

    The driver's ``episode`` topic delimits episodes; without it, :meth:`start` and :meth:`end` do.

    Attributes:
        topics: required topics.
        recording: whether episodes that start now are recorded.
        label: label of episodes that start now.
        abandoned: number of episodes to be recorded that the driver aborted.
    """

    def __init__(self, task: TaskSpec, driver_episodes: bool, patience_s: float) -> None:
        """Start without messages.

        Args:
            task: task specification of observations and actions.
            driver_episodes: whether the driver publishes ``episode``.
            patience_s: largest delay of messages after the end of their episode [s].
        """
        self.recording = False
        self.label = ""
        self.abandoned = 0
        self._task = task
        self._driver_episodes = driver_episodes
        self._patience_s = patience_s
        self._images = {observed_image(feature.name): feature for feature in task.obs.images}
        self._observed = (OBSERVATION, *self._images)
        self.topics = (*(TOPICS if driver_episodes else TOPICS[:3]), *self._images)
        self._rows: dict[int, Row] = {}
        self._received_s: dict[int, float] = {}
        self._running: dict[int, _Running] = {}
        self._floor_ns = 0
        # Time of the newest message by topic, or of the start [s].
        self._heard_s: dict[str, float] = {}

    # ------------------------------------------------------------------ start and stop

    def start(self) -> None:
        """Record the episodes that start from now on."""
        self.recording = True
        if not self._driver_episodes:
            self._forget_before(max(self._rows, default=-1) + 1)
            self._running = {0: _Running(wanted=True, label=self.label)}

    def stop(self) -> bool:
        """Stop recording and discard the running episode; returns whether there was one."""
        self.recording = False
        return self.discard()

    def wind_down(self) -> None:
        """Start no further episodes; the running one continues."""
        self.recording = self.recording and not self._driver_episodes

    def discard(self) -> bool:
        """Discard the running episode and record the next one; returns whether there was one.

        Episodes that are over are not discarded.
        """
        dropped = [episode for episode in self._running.values() if episode.wanted and episode.last is None]
        for episode in dropped:
            episode.wanted = False
        if not self._driver_episodes and self.recording:
            self.start()
        return bool(dropped)

    def end(self, now_s: float, success: bool = True, truncated: bool = False, label: str = "") -> None:
        """End an episode of a driver without episodes: the recording since the start is one episode.

        Args:
            now_s: time on a steady clock [s].
            success: whether the task was solved.
            truncated: whether the episode was cut off; otherwise it has ended.
            label: its label; empty keeps that of its start.
        """
        self.recording = False
        episode = self._running[0]
        episode.label = label or episode.label
        episode.stamps = self._observed_stamps()
        steps = max(len(episode.stamps) - 1, 0)
        episode.last = replace(_NO_STATE, step=steps, success=success, terminated=not truncated, truncated=truncated)
        episode.over_since_s = now_s

    @property
    def awaited(self) -> bool:
        """Whether an episode to be recorded may still become complete."""
        return any(episode.wanted for episode in self._running.values()) and (self._driver_episodes or self.completing)

    @property
    def completing(self) -> bool:
        """Whether an episode is over and some of its messages may still arrive."""
        return any(episode.last is not None for episode in self._running.values())

    def forget(self) -> list[Assembled]:
        """Discard all messages after the clock has jumped back, because their stamps are no longer comparable.

        Returns:
            The episodes to be recorded that were over, complete or not.
        """
        wanted = [episode for episode in self._running.values() if episode.wanted]
        taken = [self._assemble(episode, episode.last) for episode in wanted if episode.last is not None]
        self.abandoned += len(wanted) - len(taken)
        self._rows.clear()
        self._received_s.clear()
        self._running.clear()
        self._floor_ns = 0
        if self.recording:
            self.start()
        return taken

    # ------------------------------------------------------------------ messages

    def add(self, topic: str, stamp_ns: int, value: NDArray[Any] | Demonstrated | State | bytes, now_s: float) -> bool:
        """Add a message; repeated messages are ignored.

        Args:
            topic: one of :attr:`topics`.
            stamp_ns: stamp, by which messages are matched [ns].
            value: observation (O,) as float32, demonstrated or executed action (A,), state, or compressed frame.
            now_s: time of reception [s].

        Returns:
            Whether all messages with this stamp have arrived.
        """
        if stamp_ns < self._floor_ns:
            return False
        self._heard_s[topic] = now_s
        row = self._rows.setdefault(stamp_ns, {})
        if topic not in row:
            row[topic] = value
            self._received_s.setdefault(stamp_ns, now_s)
            if isinstance(value, State):
                self._follow(stamp_ns, value, now_s)
            if len(self._rows) > self._limit:
                self._forget_before(sorted(self._rows)[-self._limit // 2])
        return len(row) == len(self.topics)

    def finished(self, now_s: float) -> list[Assembled]:
        """Remove and return the episodes to be recorded that are over, and complete or past the time-out."""
        taken = []
        for number, episode in list(self._running.items()):
            if episode.last is None:
                continue
            # Assembling takes long if there are images, during which further messages wait.
            if not self._missing(episode, episode.last) or now_s - episode.over_since_s > self._patience_s:
                del self._running[number]
                self._trim(episode)
                if episode.wanted:
                    taken.append(self._assemble(episode, episode.last))
                # The last row is kept: its action, which no episode needs, may still arrive.
                self._forget_before(max(episode.stamps.values(), default=0))
        return taken

    def close(self) -> list[Assembled]:
        """Stop recording; returns all episodes to be recorded in their current state, also those that are not over."""
        self.recording = False
        wanted = [episode for episode in self._running.values() if episode.wanted]
        self._running.clear()
        for episode in wanted:
            self._trim(episode)
        return [self._assemble(episode, episode.last or self._newest_state(episode)) for episode in wanted]

    def watch_from(self, now_s: float) -> None:
        """Count the silence of topics from now on, at the start of a recording."""
        self._heard_s = dict.fromkeys(self.topics, now_s)

    def silent(self, now_s: float, after_s: float) -> list[str]:
        """Return the topics without a message for longer than ``after_s``, while something is recorded.

        A simulator may pause, and then none of its topics counts as silent.
        """
        running = any(episode.wanted and episode.last is None for episode in self._running.values())
        if not (self.recording and running):
            return []
        silent = [topic for topic in self.topics if now_s - self._heard_s.get(topic, now_s) > after_s]
        return [] if self._driver_episodes and len(silent) == len(self.topics) else silent

    def overdue(self, now_s: float, after_s: float) -> dict[str, int]:
        """Return the number of messages, by topic, that are missing ``after_s`` after the first with their stamp."""
        late = [row for stamp, row in self._rows.items() if now_s - self._received_s[stamp] > after_s]
        counts = {topic: sum(topic not in row for row in late) for topic in self.topics}
        return {topic: count for topic, count in counts.items() if count}

    # ------------------------------------------------------------------ internals

    @property
    def _limit(self) -> int:
        """Maximum number of rows: a few episodes, or unlimited while a driver without episodes is recorded."""
        unbounded = not self._driver_episodes and (self.recording or self.completing)
        return 2**62 if unbounded else 4 * self._task.horizon + 100

    def _follow(self, stamp_ns: int, state: State, now_s: float) -> None:
        if state.episode_id not in self._running:
            # An episode that is followed by another one without having ended was aborted by a reset of the driver.
            for number in [number for number, episode in self._running.items() if episode.last is None]:
                self.abandoned += self._running.pop(number).wanted
            self._running[state.episode_id] = _Running(wanted=self.recording, label=self.label)
        episode = self._running[state.episode_id]
        episode.stamps.setdefault(state.step, stamp_ns)
        if episode.newest is None or state.step > episode.newest.step:
            episode.newest = state
        if state.last and episode.last is None:
            episode.last, episode.over_since_s = state, now_s

    def _newest_state(self, episode: _Running) -> State:
        """Return the newest state of an episode that is not over."""
        if self._driver_episodes:
            return episode.newest or _NO_STATE
        episode.stamps = self._observed_stamps()
        return replace(_NO_STATE, step=max(len(episode.stamps) - 1, 0))

    def _observed_stamps(self) -> dict[int, int]:
        """Return the stamps of all steps since the start, for a driver without episodes."""
        return dict(enumerate(sorted(stamp for stamp, row in self._rows.items() if OBSERVATION in row)))

    def _trim(self, episode: _Running) -> None:
        """Leave out the steps before the first command and after the last one, of a driver without episodes.

        Recording starts before the operator arms, and ends after the robot was stopped; observations and actions are
        published all the time.
        """
        if self._driver_episodes or episode.last is None:
            return
        rows, gaps = self._steps(episode, episode.last)
        whole = [step for step, row in enumerate(rows[:-1]) if row is not None and not (set(self.topics) - set(row))]
        if not whole or not any(gaps):
            return
        first, last = whole[0], whole[-1] + 1
        stamps = sorted(episode.stamps.values())[first : last + 1]
        episode.stamps = dict(enumerate(stamps))
        episode.last = replace(episode.last, step=last - first)

    def _forget_before(self, stamp_ns: int) -> None:
        """Discard older rows, except those of episodes that are over and wait for delayed messages."""
        completing = [episode for episode in self._running.values() if episode.wanted and episode.last is not None]
        floor_ns = min([stamp_ns, *(stamp for episode in completing for stamp in episode.stamps.values())])
        self._floor_ns = max(self._floor_ns, floor_ns)
        for stamp in [stamp for stamp in self._rows if stamp < self._floor_ns]:
            del self._rows[stamp], self._received_s[stamp]

    def _steps(self, episode: _Running, last: State) -> tuple[list[Row | None], list[list[str]]]:
        """Return the row of each step, None if its stamp is unknown, and its missing topics."""
        rows = [self._rows.get(episode.stamps.get(step, -1)) for step in range(last.step + 1)]
        return rows, [self._gaps(row, is_last=step == last.step) for step, row in enumerate(rows)]

    def _missing(self, episode: _Running, last: State) -> bool:
        return any(self._steps(episode, last)[1])

    def _assemble(self, episode: _Running, last: State) -> Assembled:
        rows, gaps = self._steps(episode, last)
        missing = Counter(topic for gap in gaps for topic in gap)
        length = self._whole_steps(rows, gaps)
        over = episode.last is not None
        kept = [row or {} for row in rows[: length + 1]]
        return Assembled(
            seed=last.seed,
            steps=last.step,
            episode=self._episode(kept, last, over and not missing, episode.label) if length > 0 else None,
            missing=dict(missing),
            valid=last.valid,
            success=over and last.succeeded,
            over=over,
        )

    def _gaps(self, row: Row | None, is_last: bool) -> list[str]:
        """Return the missing topics of a step; without the driver's state the stamp of a step is unknown."""
        if row is None:
            return [EPISODE]
        return [topic for topic in (self._observed if is_last else self.topics) if topic not in row]

    def _whole_steps(self, rows: Sequence[Row | None], gaps: Sequence[list[str]]) -> int:
        """Return the number of steps before the first gap; each needs the observation and reward after it."""
        length = next((step for step, gap in enumerate(gaps) if gap), len(rows) - 1)
        outcome = {*self._observed, EPISODE} & set(self.topics)
        return length if outcome <= set(rows[length] or ()) else length - 1

    def _episode(self, rows: Sequence[Row], last: State, whole: bool, label: str) -> Episode:
        steps, following = rows[:-1], rows[1:]
        first: Demonstrated = steps[0][ACTION]
        return Episode(
            observation=np.stack([row[OBSERVATION] for row in steps]),
            action=np.stack([row[ACTION].action for row in steps]),
            executed_action=np.stack([row[EXECUTED] for row in steps]),
            reward=np.array([row.get(EPISODE, _NO_STATE).reward for row in following], dtype=np.float32),
            sim_state=np.stack([row.get(EPISODE, _NO_STATE).sim_state for row in steps]),
            final_observation=rows[-1][OBSERVATION],
            seed=last.seed,
            success=whole and last.succeeded,
            terminated=whole and last.terminated,
            truncated=last.truncated or not whole,
            noise_scale=first.noise_scale,
            source=first.source,
            label=label,
            images={feature.name: _compressed(rows, topic, feature) for topic, feature in self._images.items()},
        )


def _compressed(rows: Sequence[Row], topic: str, feature: ImageFeature) -> CompressedFrames:
    """Compress the frames of an image in these rows, with only one uncompressed block in memory."""
    compressor = FrameCompressor(feature.frame_shape)
    for row in rows:
        compressor.append(decompress_block(row[topic], 1, feature.frame_shape)[0])
    return compressor.finish()
