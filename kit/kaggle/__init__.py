"""Kaggle: the client, and what a submission must look like."""
