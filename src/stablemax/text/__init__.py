"""Text for people: errors, outcomes, suggestions and names, and the files that text goes to."""
