"""Layers with random weights."""
