"""Using a checkpoint on files and arrays: embed, match, retrieve."""
