"""Times `tfp_vae` beside what a user would pick instead: `python -m benchmarks`."""
