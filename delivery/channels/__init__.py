"""Ways out of the house. A channel is a class and one line in `registry.py`."""
