"""The `asynchat` of CPython 3.10 and 3.11 on green sockets; empty from 3.12 on, which has none."""

import sys

if sys.version_info < (3, 12):
    import warnings

    from eventlet import patcher
    from eventlet.green import asyncore, select, socket, time

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the module's own, meant for its users
        patcher.inject(
            "asynchat",
            globals(),
            ("select", select),
            ("socket", socket),
            ("time", time),
            ("asyncore", asyncore),
        )

    del patcher
