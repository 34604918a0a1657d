import sys
from pathlib import Path

# `tools` is no part of the installed package; `make cluster` finds it by running in the checkout.
sys.path.insert(0, str(Path(__file__).parents[2]))
