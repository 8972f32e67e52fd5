import attrs
import pytest

from latebin.answers.unread import MUCH, UnreadAnswers


@attrs.define(eq=False)
class Client:
    """A client that notes whether its connection was aborted."""

    aborted: bool = False

    def stop_waiting(self) -> None:
        self.aborted = True


@pytest.fixture
def unread() -> UnreadAnswers:
    return UnreadAnswers(2 * MUCH, lambda: None)


def test_longest(unread: UnreadAnswers) -> None:
    """The client that has waited longest is aborted when there is too much."""
    first, second, third = Client(), Client(), Client()
    unread.enter(first, MUCH)
    unread.enter(second, MUCH)
    unread.enter(first, MUCH // 2)
    unread.leave(second)
    unread.enter(second, MUCH)
    unread.enter(third, MUCH)
    assert (first.aborted, second.aborted, third.aborted) == (True, False, False)
    assert unread.total == 2 * MUCH


def test_larger_than_all(unread: UnreadAnswers) -> None:
    """A client is aborted that alone leaves more than the limit unread."""
    client = Client()
    unread.enter(client, 2 * MUCH + 1)
    assert client.aborted
    assert unread.total == 0


def test_freed(unread: UnreadAnswers) -> None:
    """Memory was freed, once, when half of the most is gone."""
    first, second = Client(), Client()
    unread.enter(first, MUCH)
    unread.enter(second, MUCH // 2)
    assert not unread.freed()
    unread.leave(first)
    assert unread.freed()
    assert not unread.freed()


def test_freed_little(unread: UnreadAnswers) -> None:
    """Little memory is not worth a look when it was freed."""
    client = Client()
    unread.enter(client, MUCH - 1)
    unread.leave(client)
    assert not unread.freed()
