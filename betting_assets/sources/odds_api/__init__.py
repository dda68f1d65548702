"""The Odds API: its odds and scores, as JSON or as tables made of it."""
