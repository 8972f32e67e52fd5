"""Run the command line by `python -m latebin`."""

from latebin.cli.main import main

main()
