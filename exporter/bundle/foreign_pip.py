"""A program: pip for another machine.

    python foreign_pip.py MARKERS ARGUMENT...

pip chooses wheels for another platform, but takes `python_version` and other environment markers from the Python that
runs it. So requirements such as `ai-edge-litert; python_version >= '3.12'` would be those of this machine. MARKERS is
the other machine's environment as JSON.
"""

from __future__ import annotations

import json
import sys

del sys.path[0]  # this file's folder, whose modules are not pip's

from pip._internal.cli.main import main  # noqa: E402
from pip._vendor.packaging import markers  # noqa: E402

if __name__ == "__main__":
    environment = json.loads(sys.argv[1])
    markers.default_environment = lambda: dict(environment)
    sys.exit(main(sys.argv[2:]))
