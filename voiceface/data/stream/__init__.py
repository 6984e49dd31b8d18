"""Batches out of a corpus, in an order that any number of workers keeps."""
