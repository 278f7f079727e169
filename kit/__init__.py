"""A Kaggle competition submission kit for image classification."""
