"""Corpus format, deterministic stream, data module and the built-in synthetic corpus."""
