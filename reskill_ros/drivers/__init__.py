"""A robot as its drivers show it: driver files, adapters to command interfaces, and who listens."""
