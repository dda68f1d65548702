"""What was answered: the prediction log, and the challenger beside it."""
