"""From embeddings to a result: metric, callback, result files, tables, analysis."""
