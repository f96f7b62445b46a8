"""`python -m photochrom`."""

from photochrom.cli import main

if __name__ == "__main__":
    main(prog_name="photochrom")
