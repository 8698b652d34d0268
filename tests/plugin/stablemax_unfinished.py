"""A plugin whose author is not done."""

raise RuntimeError("not finished")
