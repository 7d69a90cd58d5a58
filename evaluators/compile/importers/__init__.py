"""Files of networks, whoever made them, as graphs for the compiler: read as data, never executed as code."""
