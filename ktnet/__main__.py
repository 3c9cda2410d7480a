"""`python -m ktnet`, and what `ktnet` runs: an interrupt while it loads is no bug to be told of."""

import sys


def run() -> None:
    """The command line."""
    try:
        from ktnet.cli import main
    except KeyboardInterrupt:
        sys.exit(130)
    main()


if __name__ == "__main__":
    run()
