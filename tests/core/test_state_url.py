import pytest

from latebin.core.state_url import StateUrl, parse


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("redis://cache", StateUrl("cache")),
        ("redis://cache:7000/2", StateUrl("cache", 7000, 2)),
        ("rediss://[::1]/", StateUrl("::1", secure=True)),
        ("redis://:s%2Fcret@cache", StateUrl("cache", password="s/cret")),  # noqa: S106  # a test's own
        ("redis://:line%0D%0Aend@cache\n", StateUrl("cache", password="line\r\nend")),  # noqa: S106  # as above
        ("redis://late:s3cret@cache", StateUrl("cache", user="late", password="s3cret")),  # noqa: S106  # as above
    ],
)
def test_read(text: str, url: StateUrl) -> None:
    """A URL is read with all of its parts when it has Redis' form."""
    assert parse(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cache:6379",
        "http://s3cret",
        "redis://",
        "redis:///s3cret",
        "redis://cache:s3cret",
        "redis://cache:0",
        "redis://cache/s3cret",
        "redis://cache/-1",
        "redis://cache/1/s3cret",
        "redis://cache/9999999",
        "redis://cache?s3cret",
        "redis://cache#s3cret",
        "redis://s3cret@cache",
        "redis://s3cret:@cache",
        "redis://:s3cret\r\nFLUSHALL@cache",
        "redis://:s3cret@ca che",
        "redis://:s3cret%FF@cache",
        "redis://:s3cret@[cache",
    ],
)
def test_refused(text: str) -> None:
    """Another text is refused without a part of it when it may have a password."""
    with pytest.raises(ValueError, match=r"redis://|database|UTF-8") as refused:
        parse(text)
    assert "s3cret" not in str(refused.value)


def test_no_secret() -> None:
    """The text of an address has no password when it is shown."""
    url = parse("rediss://late:s3cret@[::1]:7000/2")
    assert str(url) == "rediss://[::1]:7000/2"
    assert "s3cret" not in repr(url)
