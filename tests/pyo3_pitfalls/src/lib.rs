//! What PyO3 extensions do around a callback, each in its own function, for the greenlet tests.
//!
//! PyO3 counts attachments per OS thread and knows nothing of greenlets: the tests show which patterns are safe
//! when the callback switches, and which end the process.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Calls `callback` in a trampoline of PyO3 and nothing else.
#[pyfunction]
fn call<'py>(callback: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    callback.call0()
}

/// Calls `callback` with `depth` more attachments around it.
#[pyfunction]
fn call_attached(callback: Py<PyAny>, depth: usize) -> PyResult<Py<PyAny>> {
    if depth == 0 {
        return Python::attach(|py| callback.call0(py));
    }
    Python::attach(|_| call_attached(callback, depth - 1))
}

/// Gives the GIL away, takes it again for the callback. A switch inside ends the process: see the tests.
#[pyfunction]
fn call_detached(py: Python<'_>, callback: Py<PyAny>) -> PyResult<Py<PyAny>> {
    py.detach(|| Python::attach(|py| callback.call0(py)))
}

/// Gives the GIL away and takes it again, without a callback inside.
#[pyfunction]
fn detach_briefly(py: Python<'_>) -> u64 {
    py.detach(|| (0..1000).sum())
}

/// Panics with `text`, after `callback` if there is one.
#[pyfunction]
#[pyo3(signature = (text, callback = None))]
fn panic(text: &str, callback: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    if let Some(callback) = callback {
        callback.call0()?;
    }
    panic!("{text}");
}

/// Returns an error of Rust's after the callback.
#[pyfunction]
fn fail(callback: &Bound<'_, PyAny>) -> PyResult<()> {
    callback.call0()?;
    Err(PyValueError::new_err("from Rust"))
}

/// Sorts with a comparison in Python: many short calls on one Rust frame.
#[pyfunction]
fn sort(mut items: Vec<i64>, less: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let mut failure = None;
    items.sort_by(|a, b| {
        let answer = less.call1((*a, *b)).and_then(|answer| answer.is_truthy());
        match answer {
            Ok(true) => std::cmp::Ordering::Less,
            Ok(false) => std::cmp::Ordering::Greater,
            Err(error) => {
                failure.get_or_insert(error);
                std::cmp::Ordering::Equal
            }
        }
    });
    failure.map_or(Ok(items), Err)
}

/// A class whose methods borrow it while a callback runs.
#[pyclass]
struct Account {
    balance: i64,
}

#[pymethods]
impl Account {
    #[new]
    fn new() -> Account {
        Account { balance: 0 }
    }

    /// Adds what the callback returns, borrowed exclusively all the while.
    fn add(&mut self, callback: &Bound<'_, PyAny>) -> PyResult<i64> {
        self.balance += callback.call0()?.extract::<i64>()?;
        Ok(self.balance)
    }

    /// The balance after the callback, borrowed shared all the while.
    fn read(&self, callback: &Bound<'_, PyAny>) -> PyResult<i64> {
        callback.call0()?;
        Ok(self.balance)
    }

    #[getter]
    fn balance(&self) -> i64 {
        self.balance
    }
}

/// A class that only its own OS thread may touch.
#[pyclass(unsendable)]
struct Local {
    value: i64,
}

#[pymethods]
impl Local {
    #[new]
    fn new(value: i64) -> Local {
        Local { value }
    }

    #[getter]
    fn value(&self) -> i64 {
        self.value
    }
}

/// The module.
#[pymodule]
fn pyo3_pitfalls(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(call, module)?)?;
    module.add_function(wrap_pyfunction!(call_attached, module)?)?;
    module.add_function(wrap_pyfunction!(call_detached, module)?)?;
    module.add_function(wrap_pyfunction!(detach_briefly, module)?)?;
    module.add_function(wrap_pyfunction!(panic, module)?)?;
    module.add_function(wrap_pyfunction!(fail, module)?)?;
    module.add_function(wrap_pyfunction!(sort, module)?)?;
    module.add_class::<Account>()?;
    module.add_class::<Local>()
}
