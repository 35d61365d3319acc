"""Green versions of standard modules, under the same names."""
