"""From archives on disk to batches of pixels."""
