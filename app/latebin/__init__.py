"""An HTTP service that answers late, on purpose and on time, written in two styles."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.web.resource import Resource


def resource() -> "Resource":
    """Make the whole service as one resource without arguments, for `twist web --class=latebin.resource`."""
    # Importing Klein installs a reactor: not before it is wanted, so that another can be chosen first.
    from latebin.core.settings import Settings  # noqa: PLC0415
    from latebin.site.root import root  # noqa: PLC0415
    from latebin.timing import wakers  # noqa: PLC0415

    return root(Settings(), wakers.system())
