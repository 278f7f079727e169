"""A run, the noun that stages and tools share, and how its parts are wired: fitted, predicted, blended, drawn."""
