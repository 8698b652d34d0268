"""The variants, a file for each operation; nothing but declared functions."""
