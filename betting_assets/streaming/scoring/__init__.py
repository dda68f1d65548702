"""From ticks to predictions: state, guard, features, the question to the Bento, the messages, the checkpoint."""
