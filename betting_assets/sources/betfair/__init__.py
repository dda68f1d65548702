"""Recordings of the Betfair exchange stream."""
