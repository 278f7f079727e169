"""A run, the object that stages and tools share, and how it is fitted, predicted, blended and drawn."""
