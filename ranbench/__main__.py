"""python -m ranbench."""

from ranbench.cli import main

main()
