"""Work on the whole graph before kernels are made: on relax, so that every kind of file gets the same."""
