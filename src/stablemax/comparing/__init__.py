"""Workflows that compare variants: arguments in, a result out; they never print."""
