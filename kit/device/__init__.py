"""The machine: its accelerator and cores, its number formats and memory layouts, and how fast they are."""
