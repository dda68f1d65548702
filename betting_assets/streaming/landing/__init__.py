"""The lander: messages of every topic into PostgreSQL, each exactly once, or kept as a dead letter with its reason."""
