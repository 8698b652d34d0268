"""A PyTorch program that is watched while it runs: the first inf or NaN, what it came from, and files that show it."""
