"""What can go wrong while minis are measured."""


class EvaluationError(Exception):
    """Something cannot be measured as asked; the message says what to do instead."""
