"""Training agents in the simulator."""

from __future__ import annotations

from functools import partial

from reskill_core.rl.config import AgentTrainingConfig
from reskill_core.runtime.skill_module import SkillModule
from reskill_core.runtime.skill_policy import SkillPolicy
from reskill_core.training.agent_trainer import AgentTrainer, AgentTrainingResult
from reskill_sim.evaluation import evaluate_policy
from reskill_sim.simulator import Simulator
from reskill_sim.tasks import get_task
from reskill_sim.tasks.base import Task


def train_agent(config: AgentTrainingConfig, show_progress: bool = True) -> AgentTrainingResult:
    """Train an agent, or continue a run that was interrupted in the same folder.

    Raises:
        ConfigError: there is no such task or profile.
        CheckpointError: the skills cannot be read or do not fit the task, or the run folder holds another run.
        TrainingError: a loss is not finite.
    """
    task = get_task(config.task)
    simulator = Simulator(task, config.num_envs, config.profile, config.threads)
    module = SkillModule.load(config.skills, batch_invariant=False)
    evaluate = partial(_evaluate, task, config)
    return AgentTrainer(config, simulator, task.spec, module, evaluate).run(show_progress)


def _evaluate(task: Task, config: AgentTrainingConfig, policy: SkillPolicy) -> dict[str, float]:
    def make_actor(num_envs: int) -> SkillPolicy:
        policy.reset([0] * num_envs)
        return policy

    found = evaluate_policy(task, make_actor, "agent", config.evaluation_episodes, config.profile, config.threads)
    return {"return": found.episode_return.mean, "success": found.success.mean}
