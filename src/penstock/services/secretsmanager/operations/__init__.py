"""Operations of Secrets Manager, by resource."""
