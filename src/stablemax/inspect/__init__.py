"""One look at every logit of an input of any size, and what each number format would make of it."""
