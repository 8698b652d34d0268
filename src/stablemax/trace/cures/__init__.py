"""Cures by pattern: formulas that lose the result, found in the data flow of a run, and code that loses nothing.

`searching.findings` takes recorded operations, a `flow.Flow` of any slice of a run, and tells where a pattern's code
makes a bad output good. `telling.with_cure` looks for the cure of a whole run and writes the user's function anew.
"""
