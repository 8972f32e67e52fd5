from latebin.state.seed_counter import MAX_KEYS, SeedCounter


def test_counts_each_pair() -> None:
    """Each seed and expression has a count of its own, from 1."""
    turns = SeedCounter()
    asked = [(7, "1s"), (7, "1s"), (8, "1s"), (7, "2s"), (None, "1s"), (7, "1s")]
    assert [turns.next(*pair) for pair in asked] == [1, 2, 1, 1, 1, 3]


def test_is_bounded() -> None:
    """Only the least recently used pair starts anew when there are too many."""
    turns = SeedCounter()
    for seed in range(MAX_KEYS):
        turns.next(seed, "1s")
    assert turns.next(0, "1s") == 2
    turns.next(MAX_KEYS, "1s")
    assert turns.next(0, "1s") == 3
    assert turns.next(1, "1s") == 1
