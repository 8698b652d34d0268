"""The hazard catalogue: inputs on which real implementations failed."""
