"""The computations of kernels, written for the schedule rules.

Activations of images are NHWC. Weights are constants, packed once at compile time so that the inner loop reads
them in order: ``(tile of output channels, kernel height, kernel width, input channel, output channel in the
tile)``. Output channels that do not divide by the tile are padded inside the kernel and cut off before they are
stored, so any channel count runs at vector speed. Each kernel ends in a stage named ``cut`` into which fused
element-wise work is drawn. The stage that computes is named after the kernel (``NAME``) and carries the tile it
was packed for as an annotation (``choices.py``), which the rule obeys.
"""
