"""What every distribution layer is made of."""
