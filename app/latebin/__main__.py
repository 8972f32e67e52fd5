"""`python -m latebin`, the same as `delayed`."""

from latebin.cli.main import main

main()
