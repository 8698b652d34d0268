"""Results of other workflows, gathered for one page."""
