"""Trained models as folders: written, read, found, described, packed and converted."""
