"""``python -m connect``."""

import sys

if __name__ == "__main__":
    try:
        from connect.cli import main

        main()
    except KeyboardInterrupt:  # while that was imported; `main` answers a later one
        sys.exit(130)
