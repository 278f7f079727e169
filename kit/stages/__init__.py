"""The pipeline's verbs, in order. They never import each other: they exchange files."""
