"""What production brings, measured: see docs/reliability.md."""
