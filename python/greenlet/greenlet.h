/* greenlet.h: greenlets for C and C++ extensions.
 *
 * The binary interface is that of upstream's greenlet.h, so an extension compiled against either
 * header runs on either implementation: the object is two words of CPython's header and three
 * pointers, and the functions are reached through a table of twelve pointers in the capsule
 * "greenlet._C_API".
 *
 * Call PyGreenlet_Import() once in each C file that uses the interface, before anything else of it.
 * When greenlet cannot be imported it leaves _PyGreenlet_API at NULL and a Python exception set.
 * Every function needs the GIL. PyGreenlet_Switch and PyGreenlet_Throw return when something
 * switches back: hold no lock across them.
 */

#ifndef Py_GREENLETOBJECT_H
#define Py_GREENLETOBJECT_H

#include <Python.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Never changes; the version of the package is greenlet.__version__. */
#define GREENLET_VERSION "1.0.0"

/* The layout is public so that extension types can derive from it (Cython checks the size).
 * Only the size is a promise: do not read or write the members. */
typedef struct _greenlet {
    PyObject_HEAD
    PyObject *weakreflist;
    PyObject *dict;
    void *pimpl;
} PyGreenlet;

/* Positions in the table. */
#define PyGreenlet_Type_NUM 0
#define PyExc_GreenletError_NUM 1
#define PyExc_GreenletExit_NUM 2
#define PyGreenlet_New_NUM 3
#define PyGreenlet_GetCurrent_NUM 4
#define PyGreenlet_Throw_NUM 5
#define PyGreenlet_Switch_NUM 6
#define PyGreenlet_SetParent_NUM 7
#define PyGreenlet_MAIN_NUM 8
#define PyGreenlet_STARTED_NUM 9
#define PyGreenlet_ACTIVE_NUM 10
#define PyGreenlet_GET_PARENT_NUM 11

/* Length of the table. */
#define PyGreenlet_API_pointers 12

/* The table; one copy per C file, filled in by PyGreenlet_Import(). */
static void **_PyGreenlet_API = NULL;

#define PyGreenlet_Import() \
    { \
        _PyGreenlet_API = (void **)PyCapsule_Import("greenlet._C_API", 0); \
    }

/* PyTypeObject PyGreenlet_Type: the class greenlet.greenlet. */
#define PyGreenlet_Type (*(PyTypeObject *)_PyGreenlet_API[PyGreenlet_Type_NUM])

/* Borrowed references to greenlet.error and greenlet.GreenletExit. */
#define PyExc_GreenletError ((PyObject *)_PyGreenlet_API[PyExc_GreenletError_NUM])
#define PyExc_GreenletExit ((PyObject *)_PyGreenlet_API[PyExc_GreenletExit_NUM])

/* Is op (may be NULL) a greenlet or of a class derived from it? */
#define PyGreenlet_Check(op) ((op) && PyObject_TypeCheck((op), &PyGreenlet_Type))

/* New reference: greenlet(run, parent). Either may be NULL; no parent means the current greenlet. */
#define PyGreenlet_New \
    (*(PyGreenlet * (*)(PyObject *run, PyGreenlet *parent)) _PyGreenlet_API[PyGreenlet_New_NUM])

/* New reference: getcurrent(). NULL with RuntimeError while the interpreter is finalized. */
#define PyGreenlet_GetCurrent (*(PyGreenlet * (*)(void)) _PyGreenlet_API[PyGreenlet_GetCurrent_NUM])

/* New reference: g.throw(typ, val, tb). val and tb may be NULL. */
#define PyGreenlet_Throw \
    (*(PyObject * (*)(PyGreenlet *g, PyObject *typ, PyObject *val, PyObject *tb)) \
         _PyGreenlet_API[PyGreenlet_Throw_NUM])

/* New reference: g.switch(*args, **kwargs). args is a tuple or NULL, kwargs a dict or NULL. */
#define PyGreenlet_Switch \
    (*(PyObject * (*)(PyGreenlet *g, PyObject *args, PyObject *kwargs)) \
         _PyGreenlet_API[PyGreenlet_Switch_NUM])

/* g.parent = parent. 0, or -1 with an exception set. */
#define PyGreenlet_SetParent \
    (*(int (*)(PyGreenlet *g, PyGreenlet *parent)) _PyGreenlet_API[PyGreenlet_SetParent_NUM])

/* New reference: g.parent; NULL without an exception for a main greenlet, which has none. */
#define PyGreenlet_GetParent \
    (*(PyGreenlet * (*)(PyGreenlet *g)) _PyGreenlet_API[PyGreenlet_GET_PARENT_NUM])

/* Old name of PyGreenlet_GetParent. */
#define PyGreenlet_GET_PARENT PyGreenlet_GetParent

/* Is g the main greenlet of a thread? Has it been started? Is it started and not finished?
 * 1 or 0; -1 with TypeError if g is not a greenlet. */
#define PyGreenlet_MAIN (*(int (*)(PyGreenlet *g)) _PyGreenlet_API[PyGreenlet_MAIN_NUM])
#define PyGreenlet_STARTED (*(int (*)(PyGreenlet *g)) _PyGreenlet_API[PyGreenlet_STARTED_NUM])
#define PyGreenlet_ACTIVE (*(int (*)(PyGreenlet *g)) _PyGreenlet_API[PyGreenlet_ACTIVE_NUM])

#ifdef __cplusplus
}
#endif

#endif /* !Py_GREENLETOBJECT_H */
