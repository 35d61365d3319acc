"""The `http` package of the running Python with green sockets: `client`, `server`, `cookies`, `cookiejar`."""

import http as _stdlib
import types
from http import *  # noqa: F403 (its public names are the point)
from http import HTTPStatus, __all__

from eventlet.green.http import client

# What a copy of a standard module gets for `import http.client`: the standard package, in which
# its other modules are found, with the green client.
package = types.ModuleType("http", _stdlib.__doc__)
vars(package).update(vars(_stdlib), client=client)
