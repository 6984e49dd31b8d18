"""Preparation: raw voices and faces of people, read, cleaned and packed into a corpus."""
