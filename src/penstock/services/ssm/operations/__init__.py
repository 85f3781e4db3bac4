"""Operations of Parameter Store, by resource."""
