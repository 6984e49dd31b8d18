"""Outputs of frozen networks, computed once and stored in place of voices and faces."""
