from twisted.internet.defer import CancelledError, Deferred

from app.pending import Pending


def test_fires() -> None:
    """An answer is pending until its Deferred fires, whose result passes through."""
    pending, d, results = Pending(), Deferred[str](), list[str]()
    assert pending.enter(d, 5.0) is d
    assert len(pending) == 1
    d.addCallback(results.append)
    d.callback("late")
    assert (len(pending), results) == (0, ["late"])


def test_fails() -> None:
    """A Deferred that fails, or is cancelled, is no longer pending, and its failure passes through."""
    pending, d, failures = Pending(), Deferred[str](), list[object]()
    pending.enter(d, 5.0).addErrback(lambda failure: failures.append(failure.type))
    d.cancel()
    assert (len(pending), failures) == (0, [CancelledError])


def test_each_has_a_place_of_its_own() -> None:
    """One answer that is given leaves the others pending."""
    pending = Pending()
    first, second = Deferred[None](), Deferred[None]()
    pending.enter(first, 5.0)
    pending.enter(second, 5.0)
    first.callback(None)
    assert len(pending) == 1


def test_due_by() -> None:
    """An answer that is due by a moment is known, and forgotten when it is given."""
    pending, d = Pending(), Deferred[None]()
    assert not pending.due_by(3.0)
    pending.enter(Deferred[None](), 5.0)
    pending.enter(d, 3.0)
    assert (pending.due_by(2.9), pending.due_by(3.0)) == (False, True)
    d.callback(None)
    assert (pending.due_by(3.0), pending.due_by(5.0)) == (False, True)
