"""The one error that is the user's to mend."""

__all__ = ["BadInput"]


class BadInput(ValueError):
    """Input that cannot be used as it is.

    The message is one line: what was found, what was expected, what to do. Commands print it on
    standard error and end with status 2; every other exception is a bug and keeps its traceback.

    Attributes
    ----------
    agreed : bool
        Whether every rank of the job raises it, so that none is waiting for another.
    """

    agreed = False
