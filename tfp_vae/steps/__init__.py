"""How steps of training run: in one call of a compiled function, watched, interrupted."""
