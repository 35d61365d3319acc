"""The `urllib` package of the running Python on green sockets: `request`, `parse`, `error`, `response`."""
