"""One clear error before work starts: of networks, data and values."""
