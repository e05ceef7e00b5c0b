"""`dekaf_trio.errors` is `dekaf_proto.errors`: the same module under a second name."""

import sys

from dekaf_proto import errors
from dekaf_proto.errors import *  # noqa: F403  # for type checkers

sys.modules[__name__] = errors
