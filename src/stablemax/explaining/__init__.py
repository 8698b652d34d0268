"""A word explained: it is looked up among all kinds of words, and each kind makes its own page."""
