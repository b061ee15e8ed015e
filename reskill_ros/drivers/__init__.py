"""Robot drivers: driver files, adapters to command interfaces, and detection of connected drivers."""
