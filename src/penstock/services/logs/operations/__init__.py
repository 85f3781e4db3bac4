"""Operations of CloudWatch Logs, by resource."""
