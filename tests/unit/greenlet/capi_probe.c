/* A module that calls every slot of greenlet's C API, and a static type derived from PyGreenlet the
 * way Cython makes one. Compiled by test_greenlet_capi.py as C and as C++. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "greenlet.h"

/* ---- the functions of the table, one to one ------------------------------------------------- */

static PyObject *
probe_type(PyObject *module, PyObject *unused)
{
    PyObject *type = (PyObject *)&PyGreenlet_Type;
    Py_INCREF(type);
    return type;
}

static PyObject *
probe_exceptions(PyObject *module, PyObject *unused)
{
    return PyTuple_Pack(2, PyExc_GreenletError, PyExc_GreenletExit);
}

static PyObject *
probe_check(PyObject *module, PyObject *op)
{
    return PyBool_FromLong(PyGreenlet_Check(op) && !PyGreenlet_Check((PyObject *)NULL));
}

/* None stands for a NULL pointer in all of these. */
static PyObject *
null_if_none(PyObject *op)
{
    return op == Py_None ? NULL : op;
}

static PyObject *
probe_new(PyObject *module, PyObject *args)
{
    PyObject *run, *parent;
    if (!PyArg_ParseTuple(args, "OO", &run, &parent)) {
        return NULL;
    }
    return (PyObject *)PyGreenlet_New(null_if_none(run), (PyGreenlet *)null_if_none(parent));
}

static PyObject *
probe_getcurrent(PyObject *module, PyObject *unused)
{
    return (PyObject *)PyGreenlet_GetCurrent();
}

static PyObject *
probe_throw(PyObject *module, PyObject *args)
{
    PyObject *g, *typ, *val, *tb;
    if (!PyArg_ParseTuple(args, "OOOO", &g, &typ, &val, &tb)) {
        return NULL;
    }
    return PyGreenlet_Throw((PyGreenlet *)g, typ, null_if_none(val), null_if_none(tb));
}

static PyObject *
probe_switch(PyObject *module, PyObject *args)
{
    PyObject *g, *a, *k;
    if (!PyArg_ParseTuple(args, "OOO", &g, &a, &k)) {
        return NULL;
    }
    return PyGreenlet_Switch((PyGreenlet *)g, null_if_none(a), null_if_none(k));
}

static PyObject *
probe_setparent(PyObject *module, PyObject *args)
{
    PyObject *g, *parent;
    if (!PyArg_ParseTuple(args, "OO", &g, &parent)) {
        return NULL;
    }
    if (PyGreenlet_SetParent((PyGreenlet *)g, (PyGreenlet *)null_if_none(parent)) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
probe_getparent(PyObject *module, PyObject *g)
{
    PyObject *parent = (PyObject *)PyGreenlet_GetParent((PyGreenlet *)g);
    if (parent == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        return PyUnicode_FromString("NULL without an exception");
    }
    return parent;
}

static PyObject *
flag(int value)
{
    return value == -1 && PyErr_Occurred() ? NULL : PyLong_FromLong(value);
}

static PyObject *
probe_main(PyObject *module, PyObject *g)
{
    return flag(PyGreenlet_MAIN((PyGreenlet *)g));
}

static PyObject *
probe_started(PyObject *module, PyObject *g)
{
    return flag(PyGreenlet_STARTED((PyGreenlet *)g));
}

static PyObject *
probe_active(PyObject *module, PyObject *g)
{
    return flag(PyGreenlet_ACTIVE((PyGreenlet *)g));
}

/* Calls a function with a C frame of the given size below it: buffer contents must survive. */
static PyObject *
probe_with_frame(PyObject *module, PyObject *args)
{
    PyObject *function, *result;
    volatile unsigned char buffer[32768];
    Py_ssize_t i, size;
    unsigned char mark = 0;
    if (!PyArg_ParseTuple(args, "nO", &size, &function)) {
        return NULL;
    }
    if (size < 0 || size > (Py_ssize_t)sizeof(buffer)) {
        PyErr_SetString(PyExc_ValueError, "size");
        return NULL;
    }
    mark = (unsigned char)((size_t)function >> 4);
    for (i = 0; i < size; i++) {
        buffer[i] = (unsigned char)(mark + i);
    }
    result = PyObject_CallNoArgs(function);
    for (i = 0; i < size; i++) {
        if (buffer[i] != (unsigned char)(mark + i)) {
            Py_XDECREF(result);
            PyErr_SetString(PyExc_SystemError, "C frame was overwritten");
            return NULL;
        }
    }
    return result;
}

static PyMethodDef probe_methods[] = {
    {"type", probe_type, METH_NOARGS, NULL},
    {"exceptions", probe_exceptions, METH_NOARGS, NULL},
    {"check", probe_check, METH_O, NULL},
    {"new", probe_new, METH_VARARGS, NULL},
    {"getcurrent", probe_getcurrent, METH_NOARGS, NULL},
    {"throw", probe_throw, METH_VARARGS, NULL},
    {"switch", probe_switch, METH_VARARGS, NULL},
    {"setparent", probe_setparent, METH_VARARGS, NULL},
    {"getparent", probe_getparent, METH_O, NULL},
    {"main", probe_main, METH_O, NULL},
    {"started", probe_started, METH_O, NULL},
    {"active", probe_active, METH_O, NULL},
    {"with_frame", probe_with_frame, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};

/* ---- a static subtype with members of its own, GC and a run method -------------------------- */

typedef struct {
    PyGreenlet base;
    PyObject *value;
    PyObject *owner;
} Child;

static int
child_traverse(PyObject *self, visitproc visit, void *arg)
{
    Child *child = (Child *)self;
    Py_VISIT(child->value);
    Py_VISIT(child->owner);
    return PyGreenlet_Type.tp_traverse(self, visit, arg);
}

static int
child_clear(PyObject *self)
{
    Child *child = (Child *)self;
    Py_CLEAR(child->value);
    Py_CLEAR(child->owner);
    return PyGreenlet_Type.tp_clear(self);
}

static void
child_dealloc(PyObject *self)
{
    Child *child = (Child *)self;
    PyObject_GC_UnTrack(self);
    Py_CLEAR(child->value);
    Py_CLEAR(child->owner);
    PyObject_GC_Track(self); /* the base untracks it again, as subtype_dealloc expects */
    PyGreenlet_Type.tp_dealloc(self);
}

static PyObject *
child_run(PyObject *self, PyObject *value)
{
    Child *child = (Child *)self;
    PyGreenlet *parent = PyGreenlet_GetParent((PyGreenlet *)self);
    PyObject *arguments = PyTuple_Pack(1, value);
    PyObject *got;
    if (parent == NULL || arguments == NULL) {
        Py_XDECREF(parent);
        Py_XDECREF(arguments);
        return NULL;
    }
    Py_INCREF(value);
    Py_XSETREF(child->value, value);
    got = PyGreenlet_Switch(parent, arguments, NULL);
    Py_DECREF(parent);
    Py_DECREF(arguments);
    if (got == NULL) {
        return NULL;
    }
    arguments = PyTuple_Pack(2, child->value, got);
    Py_DECREF(got);
    return arguments;
}

static PyObject *
child_value(PyObject *self, void *unused)
{
    PyObject *value = ((Child *)self)->value;
    if (value == NULL) {
        value = Py_None;
    }
    Py_INCREF(value);
    return value;
}

static int
child_own(PyObject *self, PyObject *owner, void *unused)
{
    Py_XINCREF(owner);
    Py_XSETREF(((Child *)self)->owner, owner);
    return 0;
}

static PyMethodDef child_methods[] = {{"run", child_run, METH_O, NULL}, {NULL, NULL, 0, NULL}};

static PyGetSetDef child_getset[] = {
    {"value", child_value, NULL, NULL, NULL},
    {"owner", NULL, child_own, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyTypeObject Child_Type = {PyVarObject_HEAD_INIT(NULL, 0) "CAPI_MODULE.Child"};

static struct PyModuleDef probe_module = {
    PyModuleDef_HEAD_INIT, "capi_probe", NULL, -1, probe_methods, NULL, NULL, NULL, NULL};

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)

PyMODINIT_FUNC PASTE(PyInit_, CAPI_MODULE)(void)
{
    PyObject *module;
    PyGreenlet_Import();
    if (_PyGreenlet_API == NULL) {
        return NULL;
    }
    Child_Type.tp_basicsize = sizeof(Child);
    Child_Type.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
    Child_Type.tp_base = &PyGreenlet_Type;
    Child_Type.tp_traverse = child_traverse;
    Child_Type.tp_clear = child_clear;
    Child_Type.tp_dealloc = child_dealloc;
    Child_Type.tp_methods = child_methods;
    Child_Type.tp_getset = child_getset;
    if (PyType_Ready(&Child_Type) < 0) {
        return NULL;
    }
    module = PyModule_Create(&probe_module);
    if (module == NULL) {
        return NULL;
    }
    Py_INCREF(&Child_Type);
    if (PyModule_AddObject(module, "Child", (PyObject *)&Child_Type) < 0 ||
        PyModule_AddIntConstant(module, "pointers", PyGreenlet_API_pointers) < 0 ||
        PyModule_AddIntConstant(module, "size", sizeof(PyGreenlet)) < 0 ||
        PyModule_AddStringConstant(module, "header_version", GREENLET_VERSION) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
