"""The plugins of pytest in the runs of pytest that tests start."""

INSTALLED = ("anyio", "asyncio", "cacheprovider", "hypothesispytest", "schemathesis", "twisted", "xdist")
"""Those that most runs can do without. Their imports take twice as long as pytest itself."""


def only(*needed: str) -> list[str]:
    """Return the options that leave out each of these plugins unless it is needed."""
    return [f"-pno:{name}" for name in INSTALLED if name not in needed]
