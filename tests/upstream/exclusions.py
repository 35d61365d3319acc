"""Reads a list of excluded tests: one glob over "file::Class::method" in each line, and its reason.

    test_stack_saved.py::*  # bytes copied to the heap: nothing is copied here

A line without a reason is an error: a test may be left out because it asks for a detail of upstream's
code that no user can see, never because it fails.
"""

from fnmatch import fnmatchcase


class Exclusions:
    """The list of one suite, and which of its lines have been of use."""

    def __init__(self, path):
        self.path = path
        self.reasons = {}
        self.used = set()
        for number, line in enumerate(path.read_text().splitlines(), 1):
            pattern, _, reason = line.partition("  # ")
            if line.strip() and not line.startswith("#"):
                if not reason.strip():
                    raise ValueError(f"{path}:{number}: give a reason after two spaces and '# '")
                self.reasons[pattern.strip()] = reason.strip()

    def reason(self, file, name):
        """Why the test is left out; None if it is not."""
        for pattern, reason in self.reasons.items():
            if fnmatchcase(f"{file}::{name}", pattern):
                self.used.add(pattern)
                return reason
        return None

    def unused(self):
        """Patterns that matched no test: they are out of date."""
        return sorted(set(self.reasons) - self.used)
