"""Anybody's code as something to call: found by name, called as it wants to be, and kept in its own process."""
