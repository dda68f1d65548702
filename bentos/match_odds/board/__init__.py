"""The live page /board: what the scorer published, read from PostgreSQL and told to browsers as it changes."""
