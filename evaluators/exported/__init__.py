"""``torch.export`` programs (``.pt2``) from outside, read as data.

``torch.export.load`` cannot be used on them: it unpickles tensors and constants (``weights_only=False``),
evaluates symbolic sizes with sympy, executes guards as Python source and imports modules that the file names. Here
the archive is read as what it is, JSON and raw tensors, and its nodes are run one after another; only
``torch.ops.aten`` operators and plain arithmetic can be called.
"""
