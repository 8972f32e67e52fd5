from latebin.core.endpoints import PREFIXES
from tests.support.wire import House


def test_room(house: House) -> None:
    """A connection with regular requests has no attribute for irregular ones."""
    wire = house.wire()
    for prefix in PREFIXES.values():
        wire.send(f"GET {prefix}/delayed/0 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        house.clock.advance(0)
    assert not {"_missing", "_answered", "_came", "_lingering", "_deaf", "_held"} & vars(wire.protocol._channel).keys()
