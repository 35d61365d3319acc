"""`Patches`: what monkey patching has changed in the process, and the way back.

A change is either *in place* (a builtin's function, or the methods of a builtin class, lead to green
code, by whatever reference they are called) or *by name* (a module's attribute is another object).
Every change notes how it is undone, so that a patch which fails half way leaves nothing behind.
"""

import sys
import types

from greenlet import _core

_MISSING = object()

# Builtins of `_thread` that are redirected in place, too; the other names are replaced only: they concern
# threads that are started by the replaced ones.
_THREAD_BUILTINS = {"get_ident", "start_joinable_thread", "start_new", "start_new_thread"}


class Report:
    """What `monkey_patch` did to the process. ``str()`` tells it in words.

    in_place: names of builtins that are green by whatever reference they are called.
    by_name: names of module attributes that are other objects now.
    failed: (name, reason) of what stays as it was, or could be changed by name only.
    captured: (name, where) of replaced functions and classes that modules still have under a name of
    their own, and which are not green in place.
    """

    def __init__(self, flags, in_place, by_name, failed, captured):
        self.flags = flags
        self.in_place = in_place
        self.by_name = by_name
        self.failed = failed
        self.captured = captured

    def __bool__(self):
        """Whether anything was patched."""
        return bool(self.flags)

    def __str__(self):
        if not self.flags:
            return "nothing is monkey patched"
        lines = [f"monkey patched: {', '.join(self.flags)}"]
        lines.append(f"green in place ({len(self.in_place)}): {', '.join(self.in_place)}")
        lines.append(f"replaced by name ({len(self.by_name)}): {', '.join(self.by_name)}")
        lines += [f"not possible: {name}: {reason}" for name, reason in self.failed]
        lines += [
            f"captured before and not green there: {name} as {where}"
            for name, where in self.captured
        ]
        return "\n".join(lines)

    __repr__ = __str__


class Patches:
    """The changes made so far, in order."""

    def __init__(self):
        self._undo = []  # functions
        self._in_place = {}  # name -> None
        self._replaced = {}  # name -> (old, new)
        self._failed = {}  # name -> reason

    def mark(self):
        """Return a point to go back to."""
        return len(self._undo)

    def undo(self, mark):
        """Go back to *mark*: what was changed after it is as it was."""
        while len(self._undo) > mark:
            self._undo.pop()()

    def then_undo(self, function):
        """Note *function* as the way back from a change."""
        self._undo.append(function)

    def _note(self, table, name, value):
        if name not in table:
            table[name] = value
            self._undo.append(lambda: table.pop(name))

    def replace(self, module, name, new):
        """Bind *name* in *module* to *new*."""
        old = vars(module).get(name, _MISSING)
        if old is new:
            return
        setattr(module, name, new)
        if old is _MISSING:
            self._undo.append(lambda: delattr(module, name))
        else:
            self._undo.append(lambda: setattr(module, name, old))
        self._note(self._replaced, f"{module.__name__}.{name}", (old, new))

    def remove(self, module, name):
        """Delete *name* from *module*, if it is there."""
        old = vars(module).get(name, _MISSING)
        if old is not _MISSING:
            delattr(module, name)
            self._undo.append(lambda: setattr(module, name, old))
            self._note(self._replaced, f"{module.__name__}.{name}", (old, None))

    def redirect(self, label, builtin, replacement):
        """Have every call of *builtin* reach *replacement*, in OS threads that run a hub."""
        if _core.is_redirected(builtin):
            return
        try:
            _core.redirect(builtin, replacement)
        except RuntimeError as error:
            self._note(self._failed, label, str(error))
            return
        self._undo.append(lambda: _core.redirect(builtin, None))
        self._note(self._in_place, label, None)

    def redirect_natively(self, kind, label, builtin, locks=()):
        """Redirect *builtin* to what `greenlet._core` has for this *kind*."""
        members = [builtin] if not isinstance(builtin, type) else list(vars(builtin).values())
        before = [m for m in members if _core.is_redirected(m)]

        def back():
            for member in members:
                if member not in before:
                    _core.redirect(member, None)

        self._undo.append(back)
        failed = _core.redirect_natively(kind, builtin, list(locks))
        for name, reason in failed:
            self._note(self._failed, label if name == kind else f"{label}.{name}", reason)
        if not any(name == kind for name, _ in failed):
            self._note(self._in_place, label, None)

    def present_as(self, cls, other):
        """Have instances of *cls* say that they are of class *other*, to `isinstance`."""
        _core.set_type_attribute(cls, "__class__", property(lambda self: other))
        self._undo.append(lambda: _core.set_type_attribute(cls, "__class__", None))

    def patch_module(self, name, module, green):
        """Write the names of *green* into the standard *module*, and redirect builtins among them."""
        by_name_only = getattr(green, "__by_name_only__", ())
        for attribute in green.__patched__:
            new = getattr(green, attribute, _MISSING)
            if new is _MISSING:
                continue
            old = vars(module).get(attribute)
            if (
                isinstance(old, types.BuiltinFunctionType)
                and callable(new)
                and not isinstance(new, type)
                and new is not old
                and attribute not in by_name_only
                and (old.__module__ != "_thread" or attribute in _THREAD_BUILTINS)
            ):
                self.redirect(f"{old.__module__}.{old.__name__}", old, new)
            self.replace(module, attribute, new)
        for attribute in getattr(green, "__deleted__", ()):
            self.remove(module, attribute)

    def report(self, flags):
        """Return the `Report`."""
        by_name = {}
        for name, (old, _) in self._replaced.items():
            if not _is_green(old):
                by_name[id(old)] = name
        captured = []
        for where, module in list(sys.modules.items()):
            if not isinstance(module, types.ModuleType) or _keeps_originals(where):
                continue
            for key, value in list(vars(module).items()):
                if id(value) in by_name and f"{where}.{key}" not in self._replaced:
                    captured.append((by_name[id(value)], f"{where}.{key}"))
        return Report(
            list(flags),
            sorted(self._in_place),
            sorted(self._replaced),
            sorted(self._failed.items()),
            sorted(captured),
        )


def _is_green(old):
    """Return whether what was replaced by name serves green threads under other names all the same."""
    if isinstance(old, types.BuiltinFunctionType):
        return _core.is_redirected(old)
    if isinstance(old, type):
        members = list(vars(old).values())
        # A class in Python finds the green names in its module; a builtin one has its methods.
        return any(isinstance(m, types.FunctionType) or _core.is_redirected(m) for m in members)
    return True


def _keeps_originals(name):
    return (
        name.split(".")[0] in ("eventlet", "greenlet")
        or name.startswith(("__original_module_", "__patched_module_", "_"))
        and name != "__main__"
    )
