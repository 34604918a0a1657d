"""`python -m maskinporten_operator`."""

from maskinporten_operator.cli import main

if __name__ == "__main__":
    main()
