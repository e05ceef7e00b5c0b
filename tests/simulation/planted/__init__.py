"""Faults of the client, planted to see whether the simulator finds them: `python -m tests.simulation.planted`."""
