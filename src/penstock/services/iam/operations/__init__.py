"""IAM by resource."""
