"""The settings of a worker, as its parent gives them, readable before Twisted is imported."""

import pickle
from typing import BinaryIO

import attrs

from latebin.core.settings import Settings


@attrs.frozen
class WorkerConfig:
    """The configuration that a worker gets from its parent, beside its descriptors.

    Attributes:
        settings: the parent's, so that they cannot differ.
        worker: the number of the worker, from 0.
    """

    settings: Settings
    worker: int


def read(pipe: BinaryIO) -> WorkerConfig:
    """Read, in a worker, its configuration.

    Raises:
        ValueError: this process was not started by such a parent.
    """
    try:
        given = pickle.load(pipe)  # noqa: S301  # the pipe's other end is the process that started this one
    except (EOFError, pickle.UnpicklingError) as error:
        raise ValueError("a worker is started by `latebin serve --workers`") from error
    if not isinstance(given, WorkerConfig):
        raise ValueError(f"{given!r} is not the configuration of a worker")  # noqa: TRY004  # as above
    return given
