"""Helpers that every room uses: errors, files, processes, progress, seeds, text."""
