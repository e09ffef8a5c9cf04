"""`python -m netpersona`: the command line."""

from netpersona.app.cli import main

if __name__ == "__main__":
    main()
