"""Small functions that upstream's users take from ``eventlet.support``."""

import functools
import inspect
import warnings

PY33 = False


def get_errno(exc):
    """Return the error code of an exception: its ``errno``, else its first argument, else None.

    >>> get_errno(OSError(9, 'Bad file descriptor'))
    9
    """
    code = getattr(exc, "errno", None)
    if code is not None:
        return code
    return exc.args[0] if exc.args else None


def bytes_to_str(b, encoding="ascii"):
    """Return *b* (bytes) decoded. Raises UnicodeDecodeError.

    >>> bytes_to_str(b'abc')
    'abc'
    """
    return b.decode(encoding)


def wrap_deprecated(old, new):
    """Return a decorator for a function or class with a new name: using the old one warns.

    *old* and *new* are names; without a dot they are taken from ``eventlet``.
    """

    def full(name):
        return name if "." in name else f"eventlet.{name}"

    message = f"{full(old)} is deprecated and will be removed. Use {full(new)} instead."

    def decorate(base):
        @functools.wraps(base)
        def warned(*args, **kwargs):
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            return base(*args, **kwargs)

        if not inspect.isclass(base):
            return warned

        def __init__(self, *args, **kwargs):
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            base.__init__(self, *args, **kwargs)

        body = {"__init__": __init__, "__module__": base.__module__, "__doc__": base.__doc__}
        return type(base.__name__, (base,), body)

    return decorate
