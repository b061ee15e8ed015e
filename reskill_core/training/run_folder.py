"""Folder of a training run.

::

    <run>/
      config.yaml                 the resolved configuration
      metrics.jsonl  tensorboard/ metrics
      checkpoints/<step>/  last  best
      plots/*.png                 at the end
      evaluation/                 results of an evaluation
      not_finite_batch/           the batch that stopped the training, if any
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reskill_core.checkpoint import (
    BEST_LINK,
    CHECKPOINTS_FOLDER,
    LAST_LINK,
    MANIFEST,
    Checkpoint,
    discard_checkpoint,
    load_checkpoint,
    resolve_checkpoint,
)
from reskill_core.errors import CheckpointError
from reskill_core.files import lock_folder, replace_link
from reskill_core.resources import shipped_folder

PLOTS_FOLDER = "plots"
# Learning curves, of skills and of agents.
LOSSES_PLOT, RETURNS_PLOT = "losses.png", "returns.png"
EVALUATION_FOLDER = "evaluation"
# Results of evaluations of checkpoints outside a run folder.
RESULTS_FOLDER = "runs/evaluation"
NOT_FINITE_FOLDER = "not_finite_batch"
CONFIG_FILE = "config.yaml"


def checkpoint_folder(run: Path, step: int) -> Path:
    """Return the folder of a step's checkpoint."""
    return run / CHECKPOINTS_FOLDER / f"{step:08d}"


def evaluation_folder(given: Path | str) -> Path:
    """Return the default folder for evaluation results of a checkpoint: in its run folder, or its own folder.

    Results of a shipped model go to ``runs/evaluation/<name>`` in the current folder, because the installation may not
    be writable.

    Raises:
        CheckpointError: there is no checkpoint.
    """
    resolved, models = resolve_checkpoint(Path(given)), shipped_folder("models").resolve()
    if resolved.is_relative_to(models):
        return Path(RESULTS_FOLDER) / resolved.relative_to(models)
    path = Path(given)
    run = path.parents[1] if path.parent.name == CHECKPOINTS_FOLDER else path
    return run / EVALUATION_FOLDER


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Lock the run folder against other processes.

    Raises:
        CheckpointError: another process holds the lock, or the folder cannot be written to.
    """
    with lock_folder(run, CheckpointError):
        yield


def link_checkpoints(run: Path, last: int, best: int) -> None:
    """Point ``last`` and ``best`` at the checkpoints of these steps."""
    for link, step in ((LAST_LINK, last), (BEST_LINK, best)):
        replace_link(run / CHECKPOINTS_FOLDER / link, checkpoint_folder(run, step).name)


def last_checkpoint(run: Path, kind: str) -> Checkpoint | None:
    """Load the checkpoint to resume from; None if there is none yet.

    Raises:
        CheckpointError: it is damaged or of another kind.
    """
    last = run / CHECKPOINTS_FOLDER / LAST_LINK
    return load_checkpoint(last, kind) if (last / MANIFEST).is_file() else None


def best_checkpoint(run: Path) -> Path:
    """Return the link to the best checkpoint of a run."""
    return run / CHECKPOINTS_FOLDER / BEST_LINK


def discard_after(run: Path, step: int) -> None:
    """Delete checkpoints later than ``step``, of a run that was killed before ``last`` pointed at them."""
    folder = run / CHECKPOINTS_FOLDER
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.isdigit() and int(path.name) > step:
            discard_checkpoint(path)
