"""`python -m decision` is `nextplay`."""

from decision.cli import main

main()
