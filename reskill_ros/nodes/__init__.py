"""The nodes, one file each, and what they are set up by."""
