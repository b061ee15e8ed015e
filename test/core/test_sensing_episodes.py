"""When an episode of a robot begins and ends."""

from __future__ import annotations

from dataclasses import replace

from sensing_bench import PERIOD_S, ROBOT, Driver, values

from reskill_core.sensing import Tick


def test_an_episode_begins_with_the_first_execution_and_ends_some_time_after_the_last() -> None:
    driver = Driver(replace(ROBOT, timeout_s=0.13))

    def step(x: float, executes: bool) -> Tick:
        driver.time_s += PERIOD_S
        driver.all(0.02, x)
        tick = driver.tick(awaits_execution=True)
        assert tick is not None
        if executes:
            driver.sensing.offer_execution(driver.time_s)
        return tick

    # Moved by somebody else: not what an action of this episode did.
    assert [values(step(x, executes=False))[3] for x in (1.0, 2.0)] == [0, 0]
    assert driver.sensing.last_tick is not None
    assert driver.sensing.last_tick.episode.step == 0
    begun = [step(3.0, executes=True), step(3.5, executes=True), step(4.5, executes=False)]
    assert [tick.episode.step for tick in begun] == [0, 1, 2]
    assert values(begun[2])[5] == 1.0
    # Time-out and period are between four and five periods.
    assert [step(4.5, executes=False).episode.step for _ in range(4)] == [3, 4, 5, 0]
    driver.sensing.offer_execution(driver.time_s)
    driver.sensing.forget()
    assert step(4.5, executes=False).episode.step == 0, "what was executed before belongs to another episode"
