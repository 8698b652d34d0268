"""Files of logits and labels, read under bounds and brought into one form: rows of classes."""
