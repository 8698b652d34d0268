"""The watch of a process that runs PyTorch."""
