"""Voices and faces out of media files: detection, crops, speech."""
