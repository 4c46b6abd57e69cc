"""Says, as one line of JSON, what this Python is and which engines load in it. Only the standard library."""

import ctypes
import importlib.util
import json
import platform
import sys
from importlib import metadata


def pocketsphinx():
    import pocketsphinx as package

    package.Decoder  # the compiled part is there


def espeakng_loader():
    import espeakng_loader as package

    ctypes.CDLL(package.get_library_path())
    package.get_data_path()


def look(name, load):
    """The package's version, or why it does not load."""
    if importlib.util.find_spec(load.__name__) is None:
        return {"missing": True}
    try:
        load()
        return {"version": metadata.version(name)}
    except Exception as error:
        return {"broken": f"{type(error).__name__}: {error}"}


print(
    json.dumps(
        {
            "version": platform.python_version(),
            "new_enough": sys.version_info >= (3, 9),
            "interpreter": getattr(sys, "_base_executable", None) or sys.executable or "",
            "pip": importlib.util.find_spec("pip") is not None,
            "pocketsphinx": look("pocketsphinx", pocketsphinx),
            "espeakng_loader": look("espeakng-loader", espeakng_loader),
        }
    )
)
