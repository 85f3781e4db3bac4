"""Why an expression or a value isn't one."""


class BadExpression(ValueError):
    """The caller says which expression, or which value, it was."""
