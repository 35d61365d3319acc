"""Reads what the sources import, far enough for tools/layers.py.

Rust is read by its tokens: comments, strings and characters are blanked first, so that line numbers
stay and nothing in them is taken for code. Python is read by `ast`. Nothing here knows a rule.
"""

import ast
import re

# What may hide words that are not code. A lifetime ('a) is not a character, hence the lookahead.
_HIDDEN = re.compile(
    r"""//[^\n]* | /\*(?:[^*]|\*(?!/))*\*/
      | \b[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)
      | [bc]?"(?:\\.|[^"\\])*"
      | b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^'\\])'(?!\w)""",
    re.VERBOSE | re.DOTALL,
)
_TOKEN = re.compile(r"\w+|::|[{}();,*]|\S")


def blank(text):
    """The text with comments and literals replaced by spaces."""
    return _HIDDEN.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


class RustFile:
    """One file of a crate: its top-level module, and the modules it names."""

    def __init__(self, path, folder):
        self.path = path
        self.inside = path.relative_to(folder).as_posix()
        self.text = blank(path.read_text())
        parts = self.inside.removesuffix(".rs").split("/")
        if parts[-1] in ("mod", "lib", "main"):
            parts.pop()
        self.module_path = parts

    @property
    def module(self):
        """Name of the top-level module, "" for the crate's root."""
        return self.module_path[0] if self.module_path else ""

    def imports(self):
        """Yields (line, top-level module) for each path that starts at the crate's root."""
        tokens = [(m.group(), m.start()) for m in _TOKEN.finditer(self.text)]
        path = list(self.module_path)
        depths = []  # where the inline modules that we are in were opened
        depth = 0
        for index, (token, offset) in enumerate(tokens):
            if token == "{":
                depth += 1
                if index > 1 and tokens[index - 2][0] == "mod":
                    path.append(tokens[index - 1][0])
                    depths.append(depth)
            elif token == "}":
                if depths and depths[-1] == depth:
                    depths.pop()
                    path.pop()
                depth -= 1
            elif token in ("crate", "super") and self._starts_path(tokens, index):
                base, after = self._base(tokens, index, path)
                if base is None:
                    continue
                line = self.text.count("\n", 0, offset) + 1
                for name in [base[0]] if base else list(self._first_names(tokens, after)):
                    if name != "*":
                        yield line, name

    @staticmethod
    def _starts_path(tokens, index):
        # Not `pub(crate)`, and not the second half of `super::super`.
        before = tokens[index - 1][0] if index else ""
        after = tokens[index + 1][0] if index + 1 < len(tokens) else ""
        return after == "::" and before != "::"

    @staticmethod
    def _base(tokens, index, path):
        """The module path that `crate::` or `super::super::` stands for, and the next index."""
        if tokens[index][0] == "crate":
            return [], index + 2
        base = list(path)
        while tokens[index][0] == "super" and tokens[index + 1][0] == "::":
            if not base:
                return None, index
            base.pop()
            index += 2
        return base, index

    @staticmethod
    def _first_names(tokens, index):
        """First segments of the path or of the use tree at `index`."""
        if tokens[index][0] != "{":
            macro = index + 1 < len(tokens) and tokens[index + 1][0] == "!"
            if not macro:
                yield tokens[index][0]
            return
        depth, expect = 0, True
        for token, _ in tokens[index:]:
            if token == "{":
                depth += 1
            elif token == "}":
                depth -= 1
                if depth == 0:
                    return
            elif depth == 1 and token == ",":
                expect = True
            elif depth == 1 and expect:
                expect = False
                yield token

    def unsafe_lines(self):
        """Yields (line, module) for each use of `unsafe` and each leave to use it."""
        for number, line in enumerate(self.text.splitlines(), 1):
            if re.search(r"\bunsafe\b", line):
                yield number, self.module
        pattern = r"#(!?)\s*\[\s*(?:allow|expect)\s*\(\s*unsafe_code\b[^\]]*\]\s*"
        for match in re.finditer(pattern, self.text):
            line = self.text.count("\n", 0, match.start()) + 1
            module = self.module
            declared = re.match(
                r"(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;",
                self.text[match.end() :],
            )
            if not match.group(1) and not module and declared:
                module = declared.group(1)
            yield line, module


def rust_files(root, crate):
    """The sources of a crate, without its tests, benches and examples."""
    folder = root / crate / "src"
    for path in sorted(folder.rglob("*.rs")):
        yield RustFile(path, folder)


def cargo_dependencies(manifest):
    """Yields (line, name) for what a manifest depends on, apart from development."""
    section = ""
    for number, line in enumerate(manifest.read_text().splitlines(), 1):
        if header := re.match(r"\s*\[+([^\]]*(?:\[[^\]]*\])?[^\]]*)\]", line):
            section = header.group(1)
            if table := re.search(r"(?:^|\.)(?:build-)?dependencies\.([\w-]+)$", section):
                yield number, table.group(1)
        elif re.search(r"(?:^|\.)(?:build-)?dependencies$", section) and (
            key := re.match(r"\s*([\w-]+)\s*[=.]", line)
        ):
            yield number, key.group(1)


class PythonFile:
    """One module of our Python packages."""

    def __init__(self, path, folder):
        self.path = path
        self.inside = path.relative_to(folder).as_posix()
        parts = self.inside.removesuffix(".py").split("/")
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        self.tree = ast.parse(path.read_text(), str(path))

    def imports(self, everywhere=False):
        """Yields (line, module) for imports when the module is loaded, or for all of them."""
        for node in ast.walk(self.tree) if everywhere else _at_load(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node.lineno, alias.name
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                yield node.lineno, base
                for alias in node.names:
                    yield node.lineno, f"{base}.{alias.name}"

    def _absolute(self, node):
        if not node.level:
            return node.module
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + self.is_package]
        return ".".join(parts + ([node.module] if node.module else []))

    def calls(self):
        """Yields (line, dotted name) for each call of a function of a module."""
        names = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names.update({a.asname or a.name: a.name for a in node.names})
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func) if isinstance(node.func, ast.Attribute) else None
            if called is not None:
                module, _, attribute = called.rpartition(".")
                yield node.lineno, f"{names.get(module, module)}.{attribute}"
            elif isinstance(node.func, ast.Name):
                yield node.lineno, names.get(node.func.id, node.func.id)


def _at_load(node):
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from _at_load(child)


def python_files(folder):
    """All modules below a folder."""
    for path in sorted(folder.rglob("*.py")):
        yield PythonFile(path, folder)


def cycles(graph):
    """Import cycles among the modules of `graph` (name to PythonFile), each as a list of names."""
    edges = {
        name: sorted({target for _, target in file.imports() if target in graph} - {name})
        for name, file in graph.items()
    }
    done, found = set(), []

    def visit(name, trail):
        if name in trail:
            found.append(trail[trail.index(name) :])
        elif name not in done:
            for target in edges[name]:
                # A package is loaded before its own modules: that is no import of theirs.
                if not name.startswith(target + "."):
                    visit(target, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return found
