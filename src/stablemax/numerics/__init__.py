"""Number formats as data, and how they compute."""
