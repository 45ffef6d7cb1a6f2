"""From an option file to trained networks: options, checks, stages, the loop, checkpoints."""
