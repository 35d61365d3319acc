//! Passes the CPython version to the sources as `cfg(Py_3_11)` and so on, and leads calls of CPython's functions that
//! may end the thread to our own (see `src/ending.rs`).

/// What `src/ending.rs` defines `__wrap_…` for.
const WRAPPED: [&str; 16] = [
    "PyErr_CheckSignals",
    "PyErr_PrintEx",
    "PyErr_WriteUnraisable",
    "PyEval_RestoreThread",
    "PyGILState_Ensure",
    "PyImport_Import",
    "PyIter_Next",
    "PyObject_Call",
    "PyObject_CallNoArgs",
    "PyObject_CallObject",
    "PyObject_GetAttr",
    "PyObject_Vectorcall",
    "PyObject_VectorcallDict",
    "PyObject_VectorcallMethod",
    "_PyObject_MakeTpCall",
    "_Py_Dealloc",
];

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    println!("cargo::rustc-check-cfg=cfg(wraps_calls)");
    let version = pyo3_build_config::get().version();
    let target = std::env::var("CARGO_CFG_TARGET_OS");
    if target.as_deref() == Ok("linux") && (version.major, version.minor) < (3, 14) {
        println!("cargo::rustc-cfg=wraps_calls");
        for name in WRAPPED {
            if name == "PyObject_Vectorcall" && version.minor < 11 {
                continue; // CPython 3.10 does not export it
            }
            println!("cargo::rustc-link-arg-cdylib=-Wl,--wrap={name}");
        }
    }
}
