"""Parts of adapters: commands of some components of an action on one topic."""
