"""The hub on libevent by way of `pyevent`: gone, upstream as well. Importing it says so."""

raise ImportError(
    "The pyevent hub is not supported: use the hub that get_default_hub() names, or 'asyncio'."
)
