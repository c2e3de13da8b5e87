"""The parts of every distribution layer."""
