"""`python -m arrbench` is `arrbench`."""

from arrbench.cli import main

main()
