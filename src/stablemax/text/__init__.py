"""Words: what is told to people, in one place for each kind of telling."""
