"""STS by resource."""
