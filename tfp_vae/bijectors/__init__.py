"""What tfb lacks."""
