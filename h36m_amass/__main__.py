"""The command ``h36m-amass``, also as ``python -m h36m_amass``."""

import sys
from importlib import import_module


def main() -> None:
    """Run the command line; Ctrl-C is answered with one word from here on, while it is still being imported, too."""
    try:
        import_module("h36m_amass.cli").app(prog_name="h36m-amass")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
