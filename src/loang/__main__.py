"""`python -m loang`."""

from loang.cli import main

if __name__ == "__main__":
    main()
