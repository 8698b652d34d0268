"""``python -m stablemax``."""

from stablemax.cli.main import main

if __name__ == "__main__":
    main()
