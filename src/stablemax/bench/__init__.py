"""`stablemax bench`: our functions and other libraries', timed in turns on one machine."""
