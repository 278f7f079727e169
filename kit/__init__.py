"""A Kaggle competition submission kit for image classification."""

__version__ = "0.1.0"
