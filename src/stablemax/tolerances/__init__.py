"""What a test may allow: tolerances that are proved, errors that were found, and bugs that a tolerance lets through."""
