"""Compiled loops of the scores and the blocks that they work on."""
