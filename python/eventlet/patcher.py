"""Putting green modules in the place of the standard library's: for good (`monkey_patch`), or for
one import.

`monkey_patch` redirects the builtins and the methods of builtin classes that block (locks, sockets,
`time.sleep`, ...) in place: every reference to them, wherever a program took it before, is green from
then on, so the order of imports does not matter. Names that a green module lists in ``__patched__``
are written into the standard module besides. Modules that `original` gives keep what they had.
"""

import importlib
import sys
from _imp import acquire_lock, release_lock

from greenlet import _core

from eventlet.support.imports import after_import, made_by
from eventlet.support.patches import Patches

__all__ = ["inject", "import_patched", "monkey_patch", "is_monkey_patched"]

# Flag of monkey_patch -> (standard module, green module) to patch.
_FLAGS = {
    "os": (("os", "eventlet.green.os"),),
    "select": (("select", "eventlet.green.select"), ("selectors", "eventlet.green.selectors")),
    "socket": (("socket", "eventlet.green.socket"), ("ssl", "eventlet.green.ssl")),
    "thread": (
        ("_thread", "eventlet.green.thread"),
        ("threading", "eventlet.green.threading"),
        ("queue", "eventlet.green.Queue"),
    ),
    "time": (("time", "eventlet.green.time"),),
    "psycopg": (),
    "MySQLdb": (("MySQLdb", "eventlet.green.MySQLdb"),),
    "builtins": (("builtins", "eventlet.green.builtin"),),
    "subprocess": (("subprocess", "eventlet.green.subprocess"),),
}

_DEFAULT_OFF = ("MySQLdb", "builtins")

# Modules that a Python, or a system, may lack.
_OPTIONAL = ("ssl", "MySQLdb")

# Flag -> (kind of redirection, module, name there) of what goes green in place. The classes are looked up
# before names are replaced.
_IN_PLACE = {
    "time": (("sleep", "time", "sleep"),),
    "select": (("epoll", "select", "epoll"), ("poll", "select", "poll")),
    "socket": (("socket", "_socket", "socket"), ("tls", "_ssl", "_SSLSocket")),
    "thread": (
        ("lock", "_thread", "LockType"),
        ("rlock", "_thread", "RLock"),
        ("simple_queue", "_queue", "SimpleQueue"),
        ("sentinel", "_thread", "_set_sentinel"),
        ("thread_handle", "_thread", "_ThreadHandle"),
        ("raise_signal", "_signal", "raise_signal"),
    ),
}

# What the names of unpatched copies begin with.
_ORIGINAL = "__original_module_"

# Modules that an unpatched copy of a module must find unpatched, too.
_ORIGINAL_NEEDS = {
    "queue": ("threading",),
    "selectors": ("select",),
    "socket": ("selectors",),
    "subprocess": ("select", "selectors", "threading", "time"),
    "threading": ("_thread",),
}

already_patched = {}

_patches = Patches()


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
    """Return (name, green module) for everything that `monkey_patch` patches if not told otherwise."""
    flags = [flag for flag in _FLAGS if flag not in _DEFAULT_OFF]
    return [pair for flag in flags for pair in _modules_of(flag)]


def _green_os_modules():
    return _modules_of("os")


def _green_select_modules():
    return _modules_of("select")


def _green_socket_modules():
    return _modules_of("socket")


def _green_subprocess_modules():
    return _modules_of("subprocess")


def _green_thread_modules():
    return _modules_of("thread")


def _green_time_modules():
    return _modules_of("time")


def _green_MySQLdb():
    return _modules_of("MySQLdb")


def _green_builtins():
    return _modules_of("builtins")


def _modules_of(flag):
    found = []
    for name, green in _FLAGS[flag]:
        try:
            found.append((name, importlib.import_module(green)))
        except ImportError:
            if name not in _OPTIONAL:
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

    The copy is a module of its own, in ``sys.modules`` as ``__original_module_<name>``, and can be
    imported by that name; no redirection reaches the builtin functions in it. Its locks are those of
    the interpreter, which let other green threads run where a hub does. Raises ImportError.

    >>> original('time').sleep is original('time').sleep
    True
    """
    key = _ORIGINAL + modname
    if key not in sys.modules:
        needs = {name: original(name) for name in _ORIGINAL_NEEDS.get(modname, ())}
        saver = SysModulesSaver([modname, *needs])
        try:
            sys.modules.pop(modname, None)
            sys.modules.update(needs)
            module = importlib.import_module(modname)
        finally:
            saver.restore()
        names = vars(module)
        for name, value in list(names.items()):
            # The locks that the interpreter releases by itself must be known wherever they are made.
            if isinstance(value, type(len)) and name != "_set_sentinel":
                names[name] = _core.private_copy(value)
        sys.modules[key] = module
    return sys.modules[key]


# Cinder does `import __original_module_threading` after it has patched.
made_by(_ORIGINAL, original)


def monkey_patch(**on):
    """Make the standard library green for the whole process.

    Flags (bool): ``os, select, socket, thread, time, psycopg, subprocess`` are on by default,
    ``MySQLdb, builtins`` are not; ``all`` sets the default of the others. With any flag True only
    those are patched, with flags only False all but those. Calling it again adds to what is
    patched; what cannot be patched is told by `report`. An error leaves the process as it was.
    May switch: no. Raises TypeError for an unknown flag.

    >>> monkey_patch(time=True)
    >>> is_monkey_patched('time')
    True
    """
    wanted = _wanted(on)
    from eventlet import hubs

    hubs.get_hub()
    acquire_lock()
    mark = _patches.mark()
    watch = "thread" in wanted and "thread" not in already_patched
    try:
        for flag in wanted:
            if flag not in already_patched:
                _patch(flag)
    except BaseException:
        _patches.undo(mark)
        raise
    finally:
        release_lock()
    if watch:
        for debugger in ("bdb", "pydevd"):
            after_import(debugger, _adapt_debugger)


def _adapt_debugger(module):
    from eventlet.support import debuggers

    debuggers.adapt(module)


def _wanted(on):
    """Return the flags that are asked for."""
    if "__builtin__" in on:
        if "builtins" in on:
            raise TypeError("monkey_patch() got both 'builtins' and its alias '__builtin__'")
        on["builtins"] = on.pop("__builtin__")
    default = on.pop("all", None)
    for flag in on:
        if flag not in _FLAGS:
            raise TypeError(f"monkey_patch() got an unexpected keyword argument {flag!r}")
    if default is None:
        default = True not in on.values()
    return [flag for flag in _FLAGS if on.get(flag, default and flag not in _DEFAULT_OFF)]


def _patch(flag):
    """Patch what belongs to one flag."""
    if flag == "psycopg":
        from eventlet.support import psycopg3_patcher

        psycopg3_patcher.make_psycopg3_green()
        try:
            from eventlet.support import psycopg2_patcher
        except ImportError:
            return
        psycopg2_patcher.make_psycopg_green()
    pairs = _modules_of(flag)
    if flag == "MySQLdb" and not pairs:
        return
    # Imported before anything is changed: what they take by name is not green.
    pairs = [(importlib.import_module(name), name, green) for name, green in pairs]
    for kind, home, name in _IN_PLACE.get(flag, ()):
        _patch_in_place(kind, home, name)
    for module, name, green in pairs:
        if name == "ssl":
            green._patch_context()
        _patches.patch_module(name, module, green)
        if hasattr(green, "_patch_in_place"):
            green._patch_in_place(_patches)
    if flag == "socket":
        _patch_look_ups()
    already_patched[flag] = True
    _patches.then_undo(lambda: already_patched.pop(flag))


def _patch_in_place(kind, home, name):
    try:
        builtin = getattr(importlib.import_module(home), name)
    except (ImportError, AttributeError):
        return  # this Python has it not
    label = f"{home}.{name}"
    locks = ()
    if kind == "poll":
        builtin = type(builtin())
    elif kind == "sentinel":
        copies = [sys.modules.get(prefix + "threading") for prefix in ("", "__original_module_")]
        threads = [thread for copy in copies if copy for thread in list(copy._active.values())]
        locks = {lock for t in threads if (lock := getattr(t, "_tstate_lock", None)) is not None}
    _patches.redirect_natively(kind, label, builtin, locks)
    if kind == "rlock":
        import threading

        _patches.present_as(builtin, threading._PyRLock)


def _patch_look_ups():
    import _socket

    from eventlet.support import resolver

    _patches.redirect(
        "_socket.getaddrinfo", _socket.getaddrinfo, resolver.raw_getaddrinfo(_socket.getaddrinfo)
    )


def is_monkey_patched(module):
    """Return whether *module* (a module, its name, or a flag) was patched by `monkey_patch`.

    >>> is_monkey_patched('nothing')
    False
    """
    name = module if isinstance(module, str) else getattr(module, "__name__", None)
    if name in already_patched:
        return True
    return any(
        flag in already_patched and any(name == known for known, _ in pairs)
        for flag, pairs in _FLAGS.items()
    )


def report():
    """Return a `Report` of what `monkey_patch` has done to the process, and how; ``str()`` of it is text.

    >>> 'time' in str(report()) or not report()
    True
    """
    return _patches.report(already_patched)


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
    from eventlet.support import program

    return program.run("python -m eventlet.patcher", argv)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
