"""The ways of teaching, one module a family; `catalogue.py` names them."""
