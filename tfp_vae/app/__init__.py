"""The `tfp-vae` command: its subcommands, runs and figures."""
