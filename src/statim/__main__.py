"""``python -m statim``, and so ``torchrun -m statim``."""

from statim.cli import main

if __name__ == "__main__":
    main()
