"""`python -m decision` is `nextplay`."""

from decision.command import main

main()
