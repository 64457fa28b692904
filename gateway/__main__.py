"""`python -m gateway` is the `lockgate` command."""

from .cli import main

if __name__ == "__main__":
    main()
