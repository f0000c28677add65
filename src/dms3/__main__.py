"""`python -m dms3` is the `dms3` command."""

from dms3.cli.main import main

if __name__ == "__main__":
    main()
