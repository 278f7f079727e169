"""What `kit init` finds out about a competition: its files, its labels, its submission, a first experiment."""
