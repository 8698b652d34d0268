"""The command line: parse, run, render; each command in a file of its own."""
