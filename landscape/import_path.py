"""What a user names as ``package.module:function``. No name that was found in a file comes here."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module

from landscape.errors import BadInput, raised

__all__ = ["import_object"]


def import_object(name: str) -> Callable:
    """Import ``package.module:function``, from what is installed or else from the current folder.

    Parameters
    ----------
    name : str
        Of a function, a class, or anything else that can be called.

    Raises
    ------
    BadInput
        It cannot be imported, or it cannot be called.
    """
    module, _, attribute = name.partition(":")
    if not all(map(str.isidentifier, [*module.split("."), attribute])):
        raise BadInput(f"cannot import {name}: it must have the form package.module:function")
    try:
        with _current_folder_last():
            imported_module = import_module(module)
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise BadInput(
            f"cannot import {name}: {reason}; install it, go to its folder, or add that to PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:  # of a module of the user's, of any kind
        raise BadInput(f"cannot import {name} ({raised(error)}); mend it") from error
    if not hasattr(imported_module, attribute):
        where = (
            getattr(imported_module, "__file__", None) or module
        )  # tells when another module of that name was found first
        raise BadInput(f"cannot import {name}: there is no {attribute} in {where}; name one that is")
    value = getattr(imported_module, attribute)
    if not callable(value):
        raise BadInput(f"{name} is a {type(value).__name__}; it must be a callable, such as a function or a class")
    return value


@contextlib.contextmanager
def _current_folder_last() -> Iterator[None]:
    """Search the current folder too, after all others, so that a file in it hides nothing that is installed."""
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)
