"""Rules for the arguments of constructors and methods, each with one error before any work."""
