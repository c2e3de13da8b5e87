"""Distributions that tfd lacks, and checks of the distributions of a model."""
