"""Known mistakes, and what code that makes one of them gives: so the kind of a wrong formula is recognised."""
