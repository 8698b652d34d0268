"""The terms of the subject, each a record with figures that are computed when they are asked for."""
