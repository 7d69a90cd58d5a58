"""Schedule rules in the manner of TVM's dlight: each answers with a scheduled kernel, or None: not my case."""
