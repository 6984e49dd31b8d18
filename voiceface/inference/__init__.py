"""Using a checkpoint on files and arrays: embedding, matching, retrieval."""
