"""Gradients that are infinite or NaN, of any library: the cause, what is right, and a cure that was run."""
