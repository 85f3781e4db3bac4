"""DynamoDB's expression languages."""
