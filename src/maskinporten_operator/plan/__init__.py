"""Decisions: (snapshot, now) in, what to do out. Pure."""
