"""What `kit init` finds out about a competition: its files, its labels, how it is handed in, where to begin."""
