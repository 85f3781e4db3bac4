"""Operations of SQS, by resource."""
