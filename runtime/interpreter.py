"""The only place that imports a TensorFlow Lite interpreter, and the cures for its known failures."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, Protocol

from .errors import InterpreterError

#: The interpreter libraries in order of preference: module to import, distribution to install.
LIBRARIES = {"tflite_runtime": "tflite-runtime", "ai_edge_litert": "ai-edge-litert"}

#: The first of `LIBRARIES` that is installed.
AUTO = "auto"


class Interpreter(Protocol):
    """The methods that we use of `tflite_runtime.interpreter.Interpreter` and of its successor."""

    def allocate_tensors(self) -> None: ...
    def get_input_details(self) -> list[dict[str, Any]]: ...
    def get_output_details(self) -> list[dict[str, Any]]: ...
    def set_tensor(self, index: int, value: Any) -> None: ...
    def invoke(self) -> None: ...
    def get_tensor(self, index: int) -> Any: ...


def is_installed(library: str) -> bool:
    """Whether one of `LIBRARIES` is installed."""
    return library in sys.modules or importlib.util.find_spec(library) is not None


def installed() -> list[str]:
    """The interpreter libraries that are installed, best first."""
    return [name for name in LIBRARIES if is_installed(name)]


def version_of(library: str) -> str:
    """The installed version of an interpreter library; "unknown" if its package does not give one."""
    import importlib.metadata  # here: it takes long to import, and classifying does not need it

    try:
        return importlib.metadata.version(LIBRARIES[library])
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def choose(wanted: str = AUTO) -> str:
    """The library that `build` uses: the named one, else the first installed one that works with this numpy.

    Raises:
        InterpreterError: no library, or not the named one, is installed and works with this numpy.
        ValueError: the name is no library.
    """
    import numpy as np  # here: a command's help needs the names above, but not numpy

    if wanted != AUTO and wanted not in LIBRARIES:
        raise ValueError(f"interpreter is {wanted!r}, expected {AUTO}, {' or '.join(LIBRARIES)}")
    unusable = False
    for name in LIBRARIES if wanted == AUTO else [wanted]:
        if is_installed(name):
            if name != "tflite_runtime" or int(np.__version__.split(".")[0]) < 2:
                return name
            unusable = True
    if unusable:
        raise InterpreterError(
            f"tflite-runtime does not work with numpy {np.__version__}; pip install 'numpy<2', or ai-edge-litert"
        )
    if wanted != AUTO:
        raise InterpreterError(f"{LIBRARIES[wanted]} is not installed; pip install {LIBRARIES[wanted]}")
    raise InterpreterError(
        "no TensorFlow Lite interpreter is installed; pip install tflite-runtime (Python up to 3.11) "
        "or ai-edge-litert (Python 3.10 or newer)"
    )


def build(content: bytes, num_threads: int = 1, library: str = AUTO, delegate: str | None = None) -> Interpreter:
    """An interpreter for a model held in memory, its tensors allocated.

    Args:
        content: the model file; what follows the FlatBuffer is ignored.
        num_threads: threads of one invocation; small models are fastest with 1.
        library: `"auto"`, `"tflite_runtime"` or `"ai_edge_litert"`.
        delegate: a shared library to load, such as `"libedgetpu.so.1"` for a Coral.

    Raises:
        InterpreterError: no library is installed, it refuses the model, or the delegate cannot be loaded.
    """
    library = choose(library)
    try:
        module = importlib.import_module(f"{library}.interpreter")
    except ImportError as error:
        raise InterpreterError(
            f"{LIBRARIES[library]} is installed and cannot be imported ({error}); install it again"
        ) from error
    options: dict[str, Any] = {"model_content": content, "num_threads": num_threads}
    if delegate is not None:
        import ctypes  # here: hardly a device has an accelerator

        try:
            # Of a library that is not there, or is no delegate, load_delegate leaves half an object and a traceback.
            _ = ctypes.CDLL(delegate).tflite_plugin_create_delegate
            options["experimental_delegates"] = [module.load_delegate(delegate)]
        except (OSError, ValueError, AttributeError) as error:  # AttributeError: a library that is no delegate
            raise InterpreterError(
                f"delegate {delegate}: cannot be loaded: {error}; is its package installed?"
            ) from error
    try:
        interpreter: Interpreter = module.Interpreter(**options)
        interpreter.allocate_tensors()
    except Exception as error:  # the bindings raise ValueError, RuntimeError and TypeError
        raise InterpreterError(f"{LIBRARIES[library]} refuses the model: {_explain(error)}") from error
    return interpreter


def tensor_details(interpreter: Interpreter) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What an interpreter says about the inputs and the outputs of its model.

    Raises:
        InterpreterError: it cannot say it, as for a name that is no text.
    """
    try:
        return interpreter.get_input_details(), interpreter.get_output_details()
    except Exception as error:  # as above; UnicodeDecodeError too
        raise InterpreterError(f"the interpreter cannot describe the model's tensors: {_explain(error)}") from error


def _explain(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    # With TensorFlow's symbols it reads a size from the wrong place; the error depends on what is there.
    if "vector::reserve" in text or ("bad_alloc" in text and "tensorflow" in sys.modules):
        return "TensorFlow was imported before it in this process; classify in a process without TensorFlow"
    if "Didn't find op" in text or "unresolved" in text.lower():
        return f"it lacks an operator of this model ({text}); export for this interpreter"
    return text
