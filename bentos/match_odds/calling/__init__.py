"""The parts of `client`."""
