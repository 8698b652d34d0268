"""Code to write instead of code that fails, tried on the very input that it fails on."""
