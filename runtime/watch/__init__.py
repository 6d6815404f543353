"""Watching a folder: what arrived, what was answered, and what follows an answer."""
