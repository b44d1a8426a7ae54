"""The one error that a user sees: what was expected, what was found, what to do next."""

from __future__ import annotations


class DensebenchError(Exception):
    """A failure that the user can mend; the tools print its text alone and exit with 1.

    The text says what was expected, what was found and what is valid or what to do next.
    """


def original_text(error: DensebenchError) -> str:
    """The text as it was raised, also when a data loader worker wrapped it in its traceback.

    torch re-raises a worker's exception as the same class with the worker's whole traceback as its text; the
    original text stands behind the last `ClassName: `.
    """
    text = str(error)
    if "Original Traceback" not in text:
        return text
    return text.rpartition(f"{type(error).__name__}: ")[2].rstrip()
