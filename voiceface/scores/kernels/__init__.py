"""The scores' compiled loops and the blocks that they process."""
