import pytest
from click.testing import CliRunner

from latebin.cli import main
from latebin.deploy.manifest import PLATFORMS, Fleet, render
from tests.support.command import latebin, refusal


@pytest.mark.parametrize("platform", PLATFORMS)
def test_printed(platform: str) -> None:
    """The command prints the manifest alone, with the replicas and the image that were given."""
    done = CliRunner().invoke(main.cli, ["manifest", platform], catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (0, render(platform, Fleet()))
    options = ["--replicas", "3", "--image", "example.org/delayed:1"]
    done = CliRunner().invoke(main.cli, ["manifest", *options, platform], catch_exceptions=False)
    assert done.stdout == render(platform, Fleet("example.org/delayed:1", 3))
    done = CliRunner().invoke(main.cli, ["manifest", platform, "--state"], catch_exceptions=False)
    assert done.stdout == render(platform, Fleet(state=True))


def test_as_installed() -> None:
    """The installed command has the files that it prints."""
    done = latebin("manifest", "kubernetes")
    assert (done.returncode, done.stdout, done.stderr) == (0, render("kubernetes", Fleet()), "")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["kubernetes", "--replicas", "0"], "'--replicas': 0 is not in the range"),
        (["kubernetes", "--replicas", "-1"], "'--replicas': -1 is not in the range"),
        (["compose", "--replicas", "1001"], "'--replicas': 1001 is not in the range"),
        (["compose", "--replicas", "abc"], "'--replicas': 'abc' is not a valid integer"),
        (["compose", "--image", "de: layed"], "'--image': Invalid image 'de: layed': expected the name of an image"),
        (["kubernetes", "--image", 'x"\ny'], r"""'--image': Invalid image 'x"\ny': expected the name of an image"""),
        (["nomad"], "'nomad' is not one of 'compose', 'kubernetes'"),
        ([], "compose|kubernetes"),
    ],
)
def test_wrong_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    """The command refuses wrong arguments in one line, with exit code 2."""
    assert named in refusal(monkeypatch, capsys, "manifest", *arguments)
