"""Feeds: what puts odds and results on the topics."""
