"""Compiling for NVIDIA GPUs with an ARM or x86 host."""
