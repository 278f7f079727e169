"""Which settings a search tries, and what is known of its trials."""
