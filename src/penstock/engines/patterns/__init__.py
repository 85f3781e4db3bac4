"""Pattern languages: pure parsers and matchers."""
