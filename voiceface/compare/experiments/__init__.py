"""The papers' experiments: what each trains, and the tables of its results."""
