"""The corpus on disk: its format, where its bytes come from, and what is checked of it."""
