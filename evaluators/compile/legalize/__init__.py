"""Operators of the graph to kernels: one module for each family of operators that we have kernels for.

A legalizer takes a block builder, a call of the operator and the ``Context``, and returns what replaces the
call, or None: not my case. The first of an operator's legalizers that answers is taken, TVM's own otherwise.
"""
