"""S3's operations, by resource."""
