"""`python -m kit`: the console script, where it is not on the path."""

from kit.cli import main

if __name__ == "__main__":
    main()
