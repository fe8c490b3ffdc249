"""What can go wrong on the way to a model. Each message says what came, what was wanted and what to do next."""


class ModelError(Exception):
    """Any reason why a model cannot be loaded."""


class UnknownModelError(ModelError):
    """Nothing has this name: no shipped model, no folder, no model of the catalog, no repository of the hub."""


class NotAtHandError(ModelError):
    """The model exists, but its wheel is not installed, or its hub cannot be reached."""


class TermsError(ModelError):
    """The model's owner wants terms accepted first."""


class TooBigError(ModelError):
    """Loading would need more memory or disk than is free."""


class UnsafeModelError(ModelError):
    """The model comes as pickle, or brings code of its own: slmlab runs neither."""


class DamagedModelError(ModelError):
    """Files are missing, cut short, or not what their digest says."""
