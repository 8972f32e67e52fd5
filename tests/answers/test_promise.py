"""What a request is promised."""

from latebin.answers.promise import Promise
from latebin.core.plan import Plan


def test_due() -> None:
    """It is due when the plan's wait is over, counted from when it was accepted."""
    assert Promise(Plan(0.25), 10.0).due == 10.25


def test_keep() -> None:
    """What is measured is from then to the answer, and there is none until there is one."""
    promise = Promise(Plan(0.25), 10.0)
    assert promise.measured is None
    assert promise.keep(10.5) == promise.measured == 0.5
