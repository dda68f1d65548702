"""The parts of the simulated world: calendar, strengths, goals, prices and names. `sources.simulator` joins them."""
