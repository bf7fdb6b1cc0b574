import sys

from catzilla._cli import main

sys.exit(main())
