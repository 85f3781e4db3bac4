"""Reading streams for functions: what follows from how a batch went."""
