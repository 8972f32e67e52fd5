from twisted.internet.defer import CancelledError, Deferred

from latebin.answers.pending import Room


def test_fires() -> None:
    """An answer is pending until its Deferred fires, whose result passes through."""
    pending, d, results = Room().share(), Deferred[str](), list[str]()
    assert pending.enter(d, 5.0) is d
    assert len(pending) == 1
    d.addCallback(results.append)
    d.callback("late")
    assert (len(pending), results) == (0, ["late"])


def test_fails() -> None:
    """A Deferred that fails, or is cancelled, is no longer pending, and its failure passes through."""
    pending, d, failures = Room().share(), Deferred[str](), list[object]()
    pending.enter(d, 5.0).addErrback(lambda failure: failures.append(failure.type))
    d.cancel()
    assert (len(pending), failures) == (0, [CancelledError])


def test_each_has_a_place_of_its_own() -> None:
    """One answer that is given leaves the others pending."""
    pending = Room().share()
    first, second = Deferred[None](), Deferred[None]()
    pending.enter(first, 5.0)
    pending.enter(second, 5.0)
    first.callback(None)
    assert len(pending) == 1


def test_due_by() -> None:
    """An answer that is due by a moment is known, and forgotten when it is given."""
    pending, d = Room().share(), Deferred[None]()
    assert not pending.due_by(3.0)
    pending.enter(Deferred[None](), 5.0)
    pending.enter(d, 3.0)
    assert (pending.due_by(2.9), pending.due_by(3.0)) == (False, True)
    d.callback(None)
    assert (pending.due_by(3.0), pending.due_by(5.0)) == (False, True)


def test_room() -> None:
    """Those that share a room fill it together, and whoever is answered gives its place back."""
    room = Room(2)
    first, second, unlimited = room.share(), room.share(), Room()
    d, other = Deferred[None](), Deferred[None]()
    first.enter(d, 5.0)
    unlimited.share().enter(Deferred[None](), 5.0)
    assert not room.full
    second.enter(other, 5.0)
    assert (room.full, unlimited.full) == (True, False)
    other.addErrback(lambda _: None)
    other.cancel()
    assert (room.full, room.taken) == (False, 1)
