"""Graphs of nodes with features: their tasks, and the graph neural networks that teach on them."""
