"""How a corpus is built: in parallel, resumable, the same bytes each time."""
