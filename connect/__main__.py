"""``python -m connect``."""

from connect.cli import main

if __name__ == "__main__":
    main()
