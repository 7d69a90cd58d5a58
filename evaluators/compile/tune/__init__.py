"""A short measured search among the ways to build a kernel, and the database that remembers what it found.

The model of each rule is right to within some per cent; what is left is found by measuring. ``search.py`` takes
the kernels of one network, those that weigh most first, builds the options of each in child processes and times
them in turn; ``database.py`` keeps the results for all networks and runs.
"""
