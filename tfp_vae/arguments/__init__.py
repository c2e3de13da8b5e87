"""Rules for the arguments of constructors and methods: one error, before any work."""
