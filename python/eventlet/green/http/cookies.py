"""The `http.cookies` of the running Python, which does no input or output."""

from http.cookies import *  # noqa: F403 (its public names are the point)
