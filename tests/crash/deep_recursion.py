"""Programs that recurse in C as deep as CPython lets them, run in a greenlet.

Usage: deep_recursion.py PROGRAM [main | LIMIT]

`main` runs it on the thread's own stack, to compare; LIMIT is set by sys.setrecursionlimit() first.

Prints `ok`, `RecursionError` or `MemoryError`; anything else, a signal above all, is a failure.
`deep_recursion.py --list` prints the names of the programs.
"""

import importlib
import sys

DEEP = 100_000
PROGRAMS = {}

# Recursions that CPython does not check at all, in the versions named: they overflow the stack of
# a thread as well, eight times as deep (docs/caveats/c-recursion.md). They run with fewer levels.
UNCHECKED_LEVELS = 1_500
UNCHECKED = {
    "map_of_map": "3.10 3.11 3.12 3.13 3.14",
    "filter_chain_zip": "3.10 3.11 3.12 3.13 3.14",
    "yield_from": "3.11 3.12 3.13 3.14",
    "await_chain": "3.11 3.12 3.13",
    "generator_expressions": "3.11 3.12 3.13",
    "deallocate_generators": "3.13",
    "deallocate_exceptions": "3.10",
    "ast_attributes": "3.10",
}


def levels(name):
    """How deep the program may go: DEEP, unless this version leaves it unchecked."""
    version = "{}.{}".format(*sys.version_info)
    return UNCHECKED_LEVELS if version in UNCHECKED.get(name, "").split() else DEEP


def program(function):
    PROGRAMS[function.__name__] = function
    return function


def nested(kind=list, depth=DEEP):
    value = kind()
    for _ in range(depth):
        value = kind([value])
    return value


def nested_dict(depth=DEEP):
    value = {}
    for _ in range(depth):
        value = {"k": value}
    return value


# -- built-in containers


@program
def repr_list():
    repr(nested())


@program
def repr_dict():
    repr(nested_dict())


@program
def eq_list():
    return nested() == nested()


@program
def eq_tuple():
    return nested(tuple) == nested(tuple)


@program
def eq_dict():
    return nested_dict() == nested_dict()


@program
def less_than_list():
    return nested() < nested()


@program
def deallocate_containers():
    for kind in (list, tuple):
        del_me = nested(kind, 10 * DEEP)
        del del_me
    del_me = nested_dict(10 * DEEP)
    del del_me


@program
def deallocate_objects():
    class Link:
        def __init__(self, link):
            self.link = link

    chain = None
    for _ in range(10 * DEEP):
        chain = Link(chain)
    del chain


@program
def deallocate_slots():
    class Link:
        __slots__ = ("link",)

        def __init__(self, link):
            self.link = link

    chain = None
    for _ in range(10 * DEEP):
        chain = Link(chain)
    del chain


@program
def deallocate_with_del():
    class Link:
        def __init__(self, link):
            self.link = link

        def __del__(self):
            pass

    chain = None
    for _ in range(DEEP):
        chain = Link(chain)
    del chain


@program
def deallocate_generators():
    def gen(inner):
        yield inner

    chain = None
    for _ in range(levels("deallocate_generators")):
        chain = gen(chain)
        next(chain)
    del chain


@program
def deallocate_exceptions():
    chain = None
    for _ in range(levels("deallocate_exceptions")):
        error = ValueError()
        error.__context__ = chain
        chain = error
    del chain, error


@program
def deallocate_methods():
    chain = None
    for _ in range(DEEP):
        chain = type(repr_list)(repr_list.__code__, {}, "f", (chain,))
    del chain


# -- serializers, copiers


@program
def json_dumps():
    import json

    json.dumps(nested())


@program
def json_dumps_dict():
    import json

    json.dumps(nested_dict())


@program
def json_loads():
    import json

    json.loads("[" * DEEP + "]" * DEEP)


@program
def pickle_dumps():
    import pickle

    pickle.dumps(nested())


class Reducible:
    def __init__(self, link):
        self.link = link

    def __reduce__(self):
        return (Reducible, (self.link,))


@program
def pickle_reduce():
    import pickle

    chain = None
    for _ in range(DEEP):
        chain = Reducible(chain)
    pickle.dumps(chain)


@program
def marshal_dumps():
    import marshal

    try:
        marshal.dumps(nested())
    except ValueError:
        pass  # "object too deeply nested to marshal"


@program
def marshal_loads():
    import marshal

    value = None
    for _ in range(1990):
        value = (value,)
    try:
        value = marshal.dumps(value)
    except ValueError:
        return
    marshal.loads(value)


@program
def deepcopy():
    import copy

    copy.deepcopy(nested())


@program
def element_tree():
    import xml.etree.ElementTree as tree

    root = tree.fromstring("<a>" * 50_000 + "</a>" * 50_000)
    tree.tostring(root)


@program
def element_tree_build():
    import xml.etree.ElementTree as tree

    root = element = tree.Element("a")
    for _ in range(DEEP):
        element = tree.SubElement(element, "a")
    del element
    del root


# -- the compiler


@program
def ast_parentheses():
    import ast

    try:
        ast.parse("(" * 5000 + ")" * 5000)
    except SyntaxError:
        pass  # "too many nested parentheses"


@program
def ast_unary():
    import ast

    ast.parse("-" * DEEP + "1")


@program
def ast_attributes():
    import ast

    ast.parse("a" + ".b" * levels("ast_attributes"))


@program
def ast_calls():
    import ast

    ast.parse("f(" * 190 + ")" * 190)
    ast.literal_eval("[" * 190 + "]" * 190)


@program
def ast_dump():
    import ast

    tree = ast.Constant(1)
    for _ in range(5000):
        tree = ast.UnaryOp(ast.USub(), tree)
    ast.dump(tree)


@program
def ast_compile_tree():
    import ast

    tree = ast.Constant(1, lineno=1, col_offset=0)
    for _ in range(DEEP):
        tree = ast.UnaryOp(ast.USub(lineno=1), tree, lineno=1, col_offset=0)
    compile(ast.Expression(tree), "deep", "eval")


@program
def compile_binary():
    compile("+".join(["a"] * DEEP), "deep", "eval")


@program
def compile_unary():
    compile("-" * DEEP + "4", "deep", "eval")


@program
def compile_not():
    compile("not " * DEEP + "a", "deep", "eval")


@program
def compile_lambda():
    compile("lambda: " * 3000 + "a", "deep", "eval")


@program
def compile_elif():
    lines = ["if a: pass"] + ["elif a: pass"] * 3000
    compile("\n".join(lines), "deep", "exec")


@program
def compile_indent():
    lines = [" " * level + "if a:" for level in range(99)]
    compile("\n".join(lines + [" " * 99 + "pass"]), "deep", "exec")


@program
def compile_subscripts():
    compile("a" + "[0]" * DEEP, "deep", "eval")


@program
def compile_comprehensions():
    compile("[" * 15 + "a" + " for a in b]" * 15, "deep", "eval")


@program
def exec_in_exec():
    def run(depth):
        exec("run(depth + 1)", {"run": run, "depth": depth})

    run(0)


@program
def regular_expression():
    import re

    re.compile("(?:" * 5000 + ")" * 5000)


@program
def regular_expression_match():
    import re

    assert re.match("(?:a|b)*c|.*", "ab" * DEEP)
    assert re.match("(a(?=b)|b)*", "ab" * DEEP)


# -- Python called from C called from Python


@program
def plain_python():
    def call():
        call()

    call()


@program
def sorted_key():
    def key(_):
        return sorted([1, 2, 3], key=key)

    key(0)


@program
def sort_compare():
    class Item:
        def __lt__(self, other):
            return sorted([Item(), Item(), Item()])

    sorted([Item(), Item(), Item()])


@program
def map_of_map():
    chain = iter([1])
    for _ in range(levels("map_of_map")):
        chain = map(abs, chain)
    next(chain)


@program
def filter_chain_zip():
    import itertools

    for wrap in (
        lambda it: filter(None, it),
        lambda it: zip(it),
        lambda it: itertools.chain(it),
        lambda it: itertools.islice(it, 1),
        lambda it: enumerate(it),
    ):
        chain = iter([1])
        for _ in range(levels("filter_chain_zip")):
            chain = wrap(chain)
        try:
            next(chain)
        except RecursionError:
            pass
        del chain


@program
def map_function():
    def call(_):
        return list(map(call, [1]))

    call(0)


@program
def getattr_hook():
    class A:
        def __getattr__(self, name):
            return getattr(self, name + "x"[:0])

    return A().missing


@program
def getattribute_hook():
    class A:
        def __getattribute__(self, name):
            return getattr(self, name)

    return A().missing


@program
def property_get():
    class A:
        @property
        def value(self):
            return self.value

    return A().value


@program
def setattr_hook():
    class A:
        def __setattr__(self, name, value):
            setattr(self, name, value)

    A().value = 1


@program
def add_operator():
    class A:
        def __add__(self, other):
            return self + other

    A() + 1


@program
def compare_operator():
    class A:
        def __eq__(self, other):
            return self == other

    return A() == 1


@program
def unary_operators():
    import operator

    class A:
        def __neg__(self):
            return operator.neg(self)

        def __bool__(self):
            return operator.truth(self)

        def __len__(self):
            return len(self)

        def __index__(self):
            return operator.index(self)

        def __hash__(self):
            return hash(self)

        def __iter__(self):
            return iter(self)

        def __contains__(self, item):
            return item in self

        def __getitem__(self, item):
            return self[item]

        def __str__(self):
            return str(self)

        def __repr__(self):
            return repr(self)

        def __format__(self, spec):
            return f"{self}"

    for use in (
        operator.neg, operator.truth, len, operator.index, hash, iter, lambda a: 1 in a,
        lambda a: a[0], str, repr, format,
    ):  # fmt: skip
        try:
            use(A())
        except RecursionError:
            pass


@program
def call_operator():
    class A:
        def __call__(self):
            return self()

    A()()


@program
def call_chain():
    class A:
        pass

    A.__call__ = A()
    A()()


@program
def new_and_init():
    class A:
        def __init__(self):
            A()

    A()


@program
def class_in_class():
    class Meta(type):
        def __call__(cls):
            return cls()

    Meta("A", (), {})()


@program
def subclass_check():
    import abc

    class A(metaclass=abc.ABCMeta):
        @classmethod
        def __subclasshook__(cls, other):
            return issubclass(other, A)

    isinstance(1, A)


@program
def isinstance_tuples():
    isinstance(1, nested(tuple))


@program
def partial_chain():
    import functools

    class Partial(functools.partial):
        pass

    for kind in (functools.partial, Partial):
        chain = len
        for _ in range(1000):
            chain = kind(chain)
            chain.keep = 1
        try:
            chain(())
        except RecursionError:
            pass


@program
def partial_recursion():
    import functools

    def call():
        return functools.partial(call)()

    call()


@program
def reduce_function():
    import functools

    def call(a, b):
        return functools.reduce(call, [1, 2])

    call(1, 2)


@program
def cached_function():
    import functools

    @functools.lru_cache(None)
    def call(n):
        return call(n + 1)

    call(0)


@program
def minimum_key():
    def key(_):
        return min([1, 2], key=key)

    key(0)


@program
def sub_function():
    import re

    def call(match):
        return re.sub("a", call, "a")

    call(None)


@program
def default_dict():
    import collections

    class D(dict):
        def __missing__(self, key):
            return self[key]

    def factory():
        return collections.defaultdict(factory)[1]

    try:
        D()[1]
    except RecursionError:
        pass
    factory()


# -- generators, coroutines


@program
def yield_from():
    def gen(inner):
        yield from inner

    chain = iter([1])
    for _ in range(levels("yield_from")):
        chain = gen(chain)
    next(chain)


@program
def yield_from_self():
    def gen():
        yield from gen()

    next(gen())


@program
def generator_throw_close():
    def gen(inner):
        try:
            yield from inner
        finally:
            pass

    chain = gen([1, 2])
    for _ in range(500):
        chain = gen(chain)
    next(chain)
    try:
        chain.throw(ValueError)
    except ValueError:
        pass
    chain = gen([1, 2])
    for _ in range(500):
        chain = gen(chain)
    try:
        next(chain)
    except RecursionError:
        return
    chain.close()


@program
def await_chain():
    async def call(inner):
        return await inner

    async def end():
        return 1

    chain = end()
    for _ in range(levels("await_chain")):
        chain = call(chain)
    try:
        chain.send(None)
    except StopIteration:
        pass


@program
def generator_expressions():
    chain = iter([1])
    for _ in range(levels("generator_expressions")):
        chain = (item for item in chain)
    next(chain)


# -- errors


@program
def error_in_error():
    def call():
        try:
            raise ValueError
        finally:
            call()

    call()


@program
def format_traceback():
    import traceback

    def call():
        call()

    try:
        call()
    except RecursionError:
        traceback.format_exc()


@program
def handled_in_depth():
    def call():
        try:
            call()
        except RecursionError:
            repr(nested(depth=100))
            raise

    call()


@program
def unraisable_in_depth():
    class Broken:
        def __del__(self):
            self.missing()

    sys.unraisablehook = lambda info: None

    def call():
        Broken()
        call()

    call()


# -- libraries that use much stack without recursing


@program
def imports():
    for name in "asyncio decimal email http.client ssl unittest.mock xmlrpc.client".split():
        importlib.import_module(name)


@program
def imports_in_depth():
    def call(depth):
        if depth:
            call(depth - 1)
        else:
            for name in "csv ctypes html.parser logging.config tarfile zipfile".split():
                importlib.import_module(name)

    call(300)


@program
def sqlite_expression():
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.execute("select " + "+".join(["1"] * 900)).fetchone()
    try:
        connection.execute("select " + "(" * 900 + "1" + ")" * 900).fetchone()
    except sqlite3.OperationalError:
        pass  # "parser stack overflow"


@program
def address_lookup():
    import socket

    socket.getaddrinfo("localhost", 80)
    try:
        socket.getaddrinfo("name.invalid", 80)
    except OSError:
        pass


@program
def decimals():
    import decimal

    with decimal.localcontext() as context:
        context.prec = 10_000
        decimal.Decimal(2).sqrt()
        decimal.Decimal(10).ln()


@program
def big_integers():
    len(str(pow(3, 8000)))
    pow(3, 100_000) * pow(7, 100_000)


@program
def tls_context():
    import ssl

    ssl.create_default_context()


def outcome(function):
    try:
        function()
    except RecursionError:
        return "RecursionError"
    except MemoryError:
        return "MemoryError"
    return "ok"


def main(arguments):
    if arguments == ["--list"]:
        print("\n".join(PROGRAMS))
        return
    function = PROGRAMS[arguments[0]]
    if arguments[1:] == ["main"]:
        print(outcome(function))
        return
    if arguments[1:]:
        sys.setrecursionlimit(int(arguments[1]))
    import greenlet

    result = greenlet.greenlet(outcome).switch(function)
    print(result)


main(sys.argv[1:])
