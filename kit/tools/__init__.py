"""The verbs besides the pipeline's."""
