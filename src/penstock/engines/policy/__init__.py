"""IAM policies: which statements apply, and what follows from them."""
