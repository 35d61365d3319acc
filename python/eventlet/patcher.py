"""Putting green modules in the place of the standard library's: for good (`monkey_patch`), or for
one import.

`monkey_patch` writes the names that a green module lists in ``__patched__`` into the standard
module, deletes those in ``__deleted__``, and then looks through every module that is already
imported for names that were bound to the old functions (``from time import sleep``): so the order
of imports does not matter. Modules that need the originals (this package, copies made by
`original`) are left alone.
"""

import importlib
import sys
import types
import warnings
from _imp import acquire_lock, release_lock

__all__ = ["inject", "import_patched", "monkey_patch", "is_monkey_patched"]

# Flag of monkey_patch -> (standard module, green module) to patch.
_FLAGS = {
    "os": (),
    "select": (("select", "eventlet.green.select"), ("selectors", "eventlet.green.selectors")),
    "socket": (("socket", "eventlet.green.socket"), ("ssl", "eventlet.green.ssl")),
    "thread": (
        ("_thread", "eventlet.green.thread"),
        ("threading", "eventlet.green.threading"),
        ("queue", "eventlet.green.Queue"),
    ),
    "time": (("time", "eventlet.green.time"),),
    "psycopg": (),
    "MySQLdb": (),
    "builtins": (),
    "subprocess": (),
}

_DEFAULT_OFF = ("MySQLdb", "builtins")

# Accepted, and said to do nothing when asked for by name.
_NOT_YET = tuple(flag for flag, modules in _FLAGS.items() if not modules)

# Modules that an unpatched copy of a module must find unpatched, too.
_ORIGINAL_NEEDS = {
    "queue": ("threading",),
    "selectors": ("select",),
    "socket": ("selectors",),
    "subprocess": ("select", "selectors", "threading", "time"),
    "threading": ("_thread",),
}

already_patched = {}


class NotPatchedWarning(RuntimeWarning):
    """`monkey_patch` was asked for a module that this version cannot patch: it stays as it is."""


class SysModulesSaver:
    """Remembers entries of ``sys.modules`` and holds the import lock until they are restored.

    Importing a submodule also binds its name in the package; that is restored, too.
    *module_names*: the entries to remember at once.
    """

    def __init__(self, module_names=()):
        self._saved = {}
        self._bound = []  # packages with what stood under a name of theirs
        acquire_lock()
        self.save(*module_names)

    def save(self, *module_names):
        """Remember more entries."""
        for name in module_names:
            self._saved[name] = sys.modules.get(name)
            package, _, child = name.rpartition(".")
            if package in sys.modules:
                names = vars(sys.modules[package])
                self._bound.append((names, child, child in names, names.get(child)))

    def restore(self):
        """Put the entries back and let go of the import lock."""
        try:
            for name, module in self._saved.items():
                if module is None:
                    sys.modules.pop(name, None)
                else:
                    sys.modules[name] = module
            for names, child, existed, value in self._bound:
                if existed:
                    names[child] = value
                else:
                    names.pop(child, None)
        finally:
            release_lock()


def _default_modules():
    """Return (name, green module) for everything that can be patched."""
    return [pair for flag in _FLAGS for pair in _modules_of(flag)]


def _green_os_modules():
    return []


def _green_select_modules():
    return _modules_of("select")


def _green_socket_modules():
    return _modules_of("socket")


def _green_subprocess_modules():
    return []


def _green_thread_modules():
    return _modules_of("thread")


def _green_time_modules():
    return _modules_of("time")


def _modules_of(flag):
    found = []
    for name, green in _FLAGS[flag]:
        try:
            found.append((name, importlib.import_module(green)))
        except ImportError:
            if name != "ssl":  # a Python may be built without
                raise
    return found


def inject(module_name, new_globals, *additional_modules):
    """Import *module_name* anew, so that its own imports find green modules, and return that copy.

    *additional_modules*: pairs (name, module) that it shall find; none means all green ones.
    *new_globals*: a dictionary that gets the names of the copy, or None. The copy is made once per
    name, and is not in ``sys.modules`` under its own name. May switch: no. Raises what the import
    raises.

    >>> green = inject('http.client', None)
    >>> green.socket.socket.__name__
    'GreenSocket'
    """
    key = "__patched_module_" + module_name
    if key not in sys.modules:
        modules = dict(additional_modules or _default_modules())
        sys.modules[key] = _import_copy(module_name, modules)
    module = sys.modules[key]
    if new_globals is not None:
        hidden = ("__builtins__", "__file__", "__name__")
        new_globals.update((k, getattr(module, k)) for k in dir(module) if k not in hidden)
    return module


def _import_copy(module_name, modules):
    """Import a module and its submodules anew while *modules* (name -> module) stand in ``sys.modules``."""
    below = module_name + "."
    saver = SysModulesSaver([*modules, module_name])
    try:
        submodules = [name for name in sys.modules if name.startswith(below)]
        saver.save(*submodules)
        for name in [module_name, *submodules]:
            sys.modules.pop(name, None)
        sys.modules.update(modules)
        return importlib.import_module(module_name)
    finally:
        saver.restore()


def import_patched(module_name, *additional_modules, **kw_additional_modules):
    """Return a copy of *module_name* whose imports found green modules; arguments as for `inject`.

    >>> import_patched('http.client') is import_patched('http.client')
    True
    """
    return inject(module_name, None, *additional_modules, *kw_additional_modules.items())


def patch_function(func, *additional_modules):
    """Return *func* with green modules in ``sys.modules`` while it runs, for functions that import inside."""
    modules = list(additional_modules or _default_modules())

    def patched(*args, **kw):
        saver = SysModulesSaver([name for name, _ in modules])
        sys.modules.update(modules)
        try:
            return func(*args, **kw)
        finally:
            saver.restore()

    return patched


def _original_patch_function(func, *module_names):
    """Return *func* with the unpatched modules in ``sys.modules`` while it runs."""

    def patched(*args, **kw):
        modules = {name: original(name) for name in module_names}
        saver = SysModulesSaver(module_names)
        sys.modules.update(modules)
        try:
            return func(*args, **kw)
        finally:
            saver.restore()

    return patched


def original(modname):
    """Return an unpatched copy of the module *modname*, whether or not it has been patched.

    The copy is a module of its own, in ``sys.modules`` as ``__original_module_<name>``. Raises
    ImportError.

    >>> original('time').sleep is original('time').sleep
    True
    """
    key = "__original_module_" + modname
    if key not in sys.modules:
        needs = {name: original(name) for name in _ORIGINAL_NEEDS.get(modname, ())}
        saver = SysModulesSaver([modname, *needs])
        try:
            sys.modules.pop(modname, None)
            sys.modules.update(needs)
            sys.modules[key] = importlib.import_module(modname)
        finally:
            saver.restore()
    return sys.modules[key]


def monkey_patch(**on):
    """Make the standard library green for the whole process.

    Flags (bool): ``os, select, socket, thread, time, psycopg, subprocess`` are on by default,
    ``MySQLdb, builtins`` are not; ``all`` sets the default of the others. With any flag True only
    those are patched, with flags only False all but those. Calling it again adds to what is
    patched. May switch: no. Raises TypeError for an unknown flag.

    This version patches ``time`` (sleep), ``socket`` (with look-ups and ``ssl``) and ``select`` (with
    selectors). The other flags are accepted; one that is asked for by name is answered with a
    `NotPatchedWarning`, because the module stays as it is: locks, queues and threads of
    ``threading`` belong to OS threads, ``os`` and ``subprocess`` calls block.

    >>> monkey_patch(time=True)
    >>> is_monkey_patched('time')
    True
    """
    from eventlet import hubs

    hubs.get_hub()
    if "__builtin__" in on:
        if "builtins" in on:
            raise TypeError("monkey_patch() got both 'builtins' and its alias '__builtin__'")
        on["builtins"] = on.pop("__builtin__")
    default = on.pop("all", None)
    for flag in on:
        if flag not in _FLAGS:
            raise TypeError(f"monkey_patch() got an unexpected keyword argument {flag!r}")
    asked = [flag for flag in _NOT_YET if on.get(flag)]
    if asked:
        warnings.warn(
            f"not patched by this version of eventlet-rs: {', '.join(asked)}",
            NotPatchedWarning,
            stacklevel=2,
        )
    if default is None:
        default = True not in on.values()
    wanted = [flag for flag in _FLAGS if on.get(flag, default and flag not in _DEFAULT_OFF)]
    replaced = {}
    acquire_lock()
    try:
        for flag in wanted:
            if flag in already_patched or flag in _NOT_YET:
                continue
            for name, green in _modules_of(flag):
                _patch_module(name, green, replaced)
            already_patched[flag] = True
        if replaced:
            _rebind(replaced)
    finally:
        release_lock()


def _patch_module(name, green, replaced):
    """Write the names of *green* into the module *name*; note (old, new) by the identity of the old."""
    module = importlib.import_module(name)
    if name == "ssl":
        green._patch_context()
    for attribute in green.__patched__:
        new = getattr(green, attribute, None)
        if new is None:
            continue
        old = getattr(module, attribute, None)
        if (
            isinstance(old, (types.FunctionType, types.BuiltinFunctionType, type))
            and old is not new
        ):
            replaced[id(old)] = (old, new)
        setattr(module, attribute, new)
    for attribute in getattr(green, "__deleted__", ()):
        if hasattr(module, attribute):
            delattr(module, attribute)


# Modules whose global names keep the originals.
_KEEP = ("eventlet", "greenlet", "__original_module_", "__patched_module_", "asyncio", "_")


def _rebind(replaced):
    """Give modules that took a replaced function by name the new one."""
    for name, module in list(sys.modules.items()):
        if (
            not isinstance(module, types.ModuleType)
            or name.startswith(_KEEP)
            and name != "__main__"
        ):
            continue
        names = vars(module)
        for key, value in list(names.items()):
            pair = replaced.get(id(value))
            if pair is not None and pair[0] is value:
                names[key] = pair[1]


def is_monkey_patched(module):
    """Return whether *module* (a module or the name of a flag) was patched by `monkey_patch`.

    >>> is_monkey_patched('nothing')
    False
    """
    return module in already_patched or getattr(module, "__name__", None) in already_patched


def slurp_properties(source, destination, ignore=(), srckeys=None):
    """Copy names of the module *source* into the dictionary *destination*.

    *ignore*: names to leave out. *srckeys*: the names; None means ``source.__all__``. Names that
    begin with two underscores are not copied.
    """
    if srckeys is None:
        srckeys = source.__all__
    for name in srckeys:
        if not name.startswith("__") and name not in ignore:
            destination[name] = getattr(source, name)


def _main(argv):
    """Patch everything, then run the program *argv[0]* as the main module."""
    import runpy

    if not argv:
        print("usage: python -m eventlet.patcher script.py [args]", file=sys.stderr)
        return 2
    sys.argv[:] = argv
    importlib.import_module("eventlet.patcher").monkey_patch()
    runpy.run_path(argv[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
