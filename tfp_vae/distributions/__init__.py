"""What tfd lacks, and what this package asks of all of its distributions."""
