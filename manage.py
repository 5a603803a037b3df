#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys


def main() -> None:
    if sys.platform == "win32":
        sys.exit(
            "TickPool runs on Linux and macOS. On Windows use WSL (`wsl --install`) or a container."
        )
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openalgo_site.settings")
    from openalgo_site.cli.command_line import run  # noqa: PLC0415

    run(sys.argv)


if __name__ == "__main__":
    main()
