import sys

from catzilla._worker._main import main

sys.exit(main(sys.argv[1:]))
