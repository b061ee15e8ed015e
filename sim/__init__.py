"""MuJoCo Fetch scenes, tasks, demonstrators and simulators; imported as `reskill_sim`."""
