"""Makes upstream's `greenlet.tests` importable beside our greenlet, in every process of a test run.

Put on PYTHONPATH by the runner, with the folder of the tests in UPSTREAM_GREENLET_TESTS. Imports
nothing of the package under test: some tests are about when it is imported.
"""

import os
import sys
from importlib.util import spec_from_file_location

_FOLDER = os.environ.get("UPSTREAM_GREENLET_TESTS")


class _Finder:
    """Finds one package; its modules are then found in its folder as usual."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "greenlet.tests" or not _FOLDER:
            return None
        start = os.path.join(_FOLDER, "__init__.py")
        return spec_from_file_location(name, start, submodule_search_locations=[_FOLDER])


sys.meta_path.insert(0, _Finder)
