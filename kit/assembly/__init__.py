"""An experiment's parts wired together, for the stages and tools that need the same wiring."""
