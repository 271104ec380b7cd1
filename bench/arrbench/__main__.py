"""`python -m arrbench` is `arrbench`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:  # then `-m` has put the working folder first, where anything may lie
        del sys.path[0]

    from arrbench.cli import main

    main()
