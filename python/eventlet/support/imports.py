"""Acting on a module when a program imports it, which may be never: `after_import`, `made_by`."""

import sys
from importlib.machinery import ModuleSpec


class _Loader:
    """A module's loader that calls functions when the module is complete."""

    def __init__(self, loader, functions):
        self._loader = loader
        self._functions = functions

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        # Whoever asks the module for its loader (inspect, pickle, ...) is to find the real one.
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        for function in self._functions:
            function(module)


class _Finder:
    """The first of `sys.meta_path`: lets the others find the modules that somebody waits for."""

    def __init__(self):
        self.waiting = {}  # name -> functions

    def find_spec(self, name, path=None, target=None):
        functions = self.waiting.get(name)
        if not functions:
            return None
        for finder in sys.meta_path:
            find = finder is not self and getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, functions)
                return spec
        return None


_finder = _Finder()


def after_import(name, function):
    """Call *function(module)* now if the module *name* is imported, else as soon as it is. May switch: no.

    Returns a function without arguments that takes this back, if it has not happened.

    >>> after_import('sys', lambda module: print(module.__name__))()
    sys
    """
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        function(module)
        return lambda: None
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    functions = _finder.waiting.setdefault(name, [])
    functions.append(function)

    def forget():
        if function in functions:
            functions.remove(function)
        if not any(_finder.waiting.values()) and _finder in sys.meta_path:
            sys.meta_path.remove(_finder)

    return forget


class _Maker:
    """A finder and loader for modules that a function makes."""

    def __init__(self, prefix, function):
        self._prefix = prefix
        self._function = function

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name.startswith(self._prefix) else None

    def create_module(self, spec):
        module = self._function(spec.name[len(self._prefix) :])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        # It is complete, and stays what it says of itself.
        module.__spec__ = module.__spec__.loader_state


def made_by(prefix, function):
    """Have ``import <prefix><name>`` give the module *function(name)*. May switch: no.

    *function* raises ImportError where there is none. Returns a function without arguments that
    takes this back.

    >>> forget = made_by('__tea_', sys.modules.__getitem__)
    >>> import __tea_sys
    >>> __tea_sys is sys
    True
    >>> forget()
    """
    maker = _Maker(prefix, function)
    sys.meta_path.insert(0, maker)  # packages find their modules themselves where nobody else does
    return lambda: sys.meta_path.remove(maker)
