"""Runs one module of CPython's own tests, after `eventlet.monkey_patch()` or without it.

    python record_stdlib.py EVENTS plain|patched MODULE [ID...]
    python record_stdlib.py --list plain|patched MODULE

Events and ids are those of tests/upstream/record.py, but for the module in front of an id: some of
these tests are packages. Patching comes before anything of the tests is imported.
"""

import faulthandler
import os
import sys
import unittest

faulthandler.enable()


def identify(test):
    """The id of a test: "module:Class::method"."""
    kind = type(test)
    return f"{kind.__module__}:{kind.__qualname__}::{getattr(test, '_testMethodName', 'runTest')}"


def prepare():
    """What `python -m test` does before a module of tests, as far as outcomes depend on it."""
    from test import support

    support.use_resources = []  # no network, no large files, no windows
    support.verbose = False


def main():
    """Runs the module; ends with status 0 if it could be run to its end."""
    path, mode, module, *wanted = sys.argv[1:]
    del sys.argv[1:]
    if mode == "patched":
        import eventlet

        eventlet.monkey_patch()
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "upstream"))
    import record

    record.identify = identify
    prepare()
    tests = list(record.flat(unittest.defaultTestLoader.loadTestsFromName(module)))
    if path == "--list":
        print(*(f"\nid {identify(test)}" for test in tests), sep="", flush=True)
        return
    record.Result.events = record.Events(path)
    suite = unittest.TestSuite(t for t in tests if not wanted or identify(t) in wanted)
    del tests
    unittest.TextTestRunner(verbosity=2, resultclass=record.Result).run(suite)
    record.Result.events.write(done=True)
    sys.stdout.flush()
    sys.stderr.flush()
    # Tests leave threads behind that would be waited for; what they did is recorded.
    os._exit(0)


if __name__ == "__main__":
    main()
