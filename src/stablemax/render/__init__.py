"""Results to text: a renderer sees results only, and decides nothing."""
