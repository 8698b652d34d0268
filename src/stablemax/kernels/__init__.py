"""The accurate formulas as they run on blocks of a large input: in reused memory, as fast as it can be read.

Each computes what the `compensated` variant of its operation does, in float64 whatever the input's
format, and leaves out the corrections for rows where a bound shows that they cannot matter. A row's
result depends on the row alone, never on the block it comes in.
"""
