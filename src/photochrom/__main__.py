"""`python -m photochrom`."""

import os
import sys


def _leave_out_current_folder() -> None:
    """Remove the current folder, where photos are, from where modules are found.

    `python -m` puts it first, and worker processes inherit it.
    """
    package = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 (no pathlib yet)
    is_elsewhere = os.path.dirname(package) != sys.path[0]  # noqa: PTH120
    if sys.path[0] in ("", os.getcwd()) and is_elsewhere:  # noqa: PTH109
        del sys.path[0]


if __name__ == "__main__":
    _leave_out_current_folder()
    from photochrom.cli import main

    main(prog_name="photochrom")
