"""The Fetch family: scenes, tasks, demonstrators and profiles of the Fetch robot at a table."""
