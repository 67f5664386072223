"""The command ``h36m-amass``, also as ``python -m h36m_amass``."""

import signal
import sys
from importlib import import_module


def main() -> None:
    """Run the command line; Ctrl-C is answered with one word from here on, while it is still being imported, too."""
    try:
        import_module("h36m_amass.cli").app(prog_name="h36m-amass")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # at Python's end there is nobody to answer it but a traceback


if __name__ == "__main__":
    main()
