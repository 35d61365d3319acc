"""Checks the news fragments in changes/, and joins them into a changelog.

tools/changes.py               exits with 1 if a fragment breaks the rules of changes/README.md
tools/changes.py --since REF   also if sources changed since that commit without a fragment
tools/changes.py --render      prints the changelog of what is in changes/
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KINDS = {"added": "Added", "changed": "Changed", "fixed": "Fixed", "removed": "Removed"}
SOURCES = ("engine/src/", "ext/src/", "python/")
LIMIT = 600  # characters: two or three sentences


def fragments(folder):
    """Yields (topic, kind, path) for each file that is named as a fragment."""
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r"([a-z0-9-]+)\.([a-z]+)\.md", path.name)
        if path.name != "README.md":
            yield (*(match.groups() if match else ("", "")), path)


def faults(folder):
    """Yields what is wrong with the fragments of `folder`."""
    for topic, kind, path in fragments(folder):
        text = path.read_text().strip()
        if not topic or kind not in KINDS:
            yield f"{path}: name it <topic>.<{'|'.join(KINDS)}>.md"
        if not text:
            yield f"{path}: is empty"
        elif len(text) > LIMIT:
            yield f"{path}: {len(text)} characters, {LIMIT} at most"
        elif text[0] in "#-*" or not text.endswith("."):
            yield f"{path}: write sentences, without a heading or a list"


def changed_since(ref):
    """Paths that differ between `ref` and the working tree."""
    command = ["git", "-C", str(ROOT), "diff", "--name-only", ref, "--"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def render(folder):
    """The changelog of the fragments, by kind."""
    for kind, title in KINDS.items():
        texts = [path.read_text() for _, its, path in fragments(folder) if its == kind]
        if texts:
            yield f"### {title}\n"
            yield from (f"- {' '.join(text.split())}" for text in texts)
            yield ""


def main():
    """Runs the check or prints the changelog."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "changes")
    parser.add_argument("--since", metavar="REF")
    parser.add_argument("--render", action="store_true")
    options = parser.parse_args()
    if options.render:
        print(*render(options.folder), sep="\n")
        return 0
    found = list(faults(options.folder))
    if options.since:
        changed = changed_since(options.since)
        news = any(re.match(r"changes/[^/]+\.\w+\.md$", path) for path in changed)
        if not news and any(path.startswith(SOURCES) for path in changed):
            found.append(f"sources changed since {options.since} without a fragment in changes/")
    print(*found, f"changes: {len(found)} faults" if found else "changes: in order", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
