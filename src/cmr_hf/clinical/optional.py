"""scipy, which `pip install cmr_hf` alone does not bring, with a word on how to get it."""

from types import ModuleType


def ndimage() -> ModuleType:
    """`scipy.ndimage`.

    Raises:
        ImportError: scipy is not installed.
    """
    try:
        from scipy import ndimage as module
    except ImportError as error:
        raise ImportError("regional measures need scipy: pip install 'cmr_hf[clinical]'") from error
    return module
