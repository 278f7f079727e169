"""Verbs beside the pipeline."""
