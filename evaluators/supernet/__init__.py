"""One network that holds all students of a space: taught once, its sub-networks scored with inherited weights."""
