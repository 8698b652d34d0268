"""Who computes the blocks of a large input: threads of this process, or a cluster."""
