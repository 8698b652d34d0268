"""Cures by pattern: what is lost on the way to a right formula, and the code that loses nothing."""
