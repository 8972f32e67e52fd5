"""`python -m app`, the same as `delayed`."""

from app.cli import main

main()
