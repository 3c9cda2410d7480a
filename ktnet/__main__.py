"""`python -m ktnet`."""

from ktnet.cli import main

main()
