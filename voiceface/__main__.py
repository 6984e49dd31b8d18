"""`python -m voiceface`."""

import sys

from voiceface.cli import main

if __name__ == "__main__":
    sys.exit(main())
