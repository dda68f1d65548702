"""From champions to a Bento, to running processes, to the models that they serve."""
