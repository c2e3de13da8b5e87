"""Models of named variables."""
