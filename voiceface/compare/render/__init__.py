"""Leaderboards as a terminal table, a page, a document, data files and pictures."""
