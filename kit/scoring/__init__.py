"""What predictions are worth, and how several become one."""
