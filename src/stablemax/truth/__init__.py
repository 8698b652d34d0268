"""What is right: exact results, and what an output is held to."""
