"""``python -m latentlab`` is the command ``latentlab``."""

from latentlab.cli.main import main

if __name__ == "__main__":
    main()
