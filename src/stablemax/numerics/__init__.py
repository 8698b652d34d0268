"""Number formats and what is computed in them."""
