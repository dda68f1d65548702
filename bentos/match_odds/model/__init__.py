"""The models, and the way from rows through the batcher to what is told."""
