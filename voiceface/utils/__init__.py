"""Helpers used by every room: errors, files, processes, progress, seeds, text."""
