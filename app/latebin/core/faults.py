"""The failures that an answer can have on purpose."""

from typing import Final

KINDS: Final = {
    "reset": "the connection is reset (RST)",
    "close": "the connection is closed without an answer (FIN)",
    "truncate": "half of the body that Content-Length announces, then the connection is closed",
    "garbage": "bytes that are not HTTP, then the connection is closed",
    "badchunk": "a chunked body that breaks off inside a chunk",
    "hang": "headers, then nothing until the client leaves or the longest delay has passed",
}

GARBAGE: Final = b"\x00\xff\x00 this is not HTTP \x00\xff\x00\r\n\r\n"
"""The bytes of `garbage`: neither a status line nor text."""

HALF_CHUNK: Final = b"400\r\nSorry"
"""The last bytes of `badchunk`: a chunk that announces 1,024 bytes and has five."""
