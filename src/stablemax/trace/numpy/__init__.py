"""NumPy code on shadowed arrays: each value runs beside the exact number that it stands for."""
