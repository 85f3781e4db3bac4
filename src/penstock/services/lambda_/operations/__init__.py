"""Lambda's operations, by resource."""
