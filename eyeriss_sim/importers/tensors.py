"""Files with values: images → arrays, trained weights → a torch module."""

import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np

PICTURES = (".png", ".jpg", ".jpeg")
MOST_PIXELS = 2**24     # of a picture; a few bytes may declare any number
# A compressed array that is longer than this, and so many times as long as its file.
MOST_UNPACKED_B, MOST_RATIO = 2**28, 100
# What DataParallel and torch.compile put before each name of a state dict.
WRAPPERS = ("module.", "_orig_mod.")
SHOWN = 3       # names that a message lists before it only counts


def load_images(path):
    """Images from an array file or a folder of pictures.

    Parameters
    ----------
    path : str or Path
        ``.npy``; ``.npz`` with one array, or one called ``images`` or ``x``; or a
        folder of ``.png`` and ``.jpg`` files of one size, read in the order of their
        names.

    Returns
    -------
    float32 ndarray, shape (N, C, H, W)
        Arrays as they are; pictures as RGB in 0..1.

    Raises
    ------
    ValueError
        No such file, not that format, not four dimensions, no floating-point numbers,
        NaN or infinite values, or pictures of different sizes.
    """
    path = Path(path)
    if path.is_dir():
        return _read_pictures(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file or folder")
    if path.suffix.lower() not in (".npy", ".npz"):
        raise ValueError(f"{path}: images come as .npy, .npz, or a folder of "
                         + ", ".join(PICTURES))
    try:
        images = _read_array(path)
    except ValueError as problem:
        if str(problem).startswith(str(path)):
            raise
        raise ValueError(f"{path}: not a numpy file of numbers, or cut short: "
                         f"{first_line(problem)}") from None
    except Exception as problem:    # numpy passes on what its parsers stumble on
        raise ValueError(f"{path}: not a numpy file, or cut short: "
                         f"{first_line(problem)}") from None
    if images.ndim != 4:
        raise ValueError(f"{path}: images need the shape (N, C, H, W), got "
                         f"{images.shape}")
    if not images.size:
        raise ValueError(f"{path}: no pixel in the shape {images.shape}")
    if images.dtype.kind != "f":
        raise ValueError(f"{path}: images must be floating-point numbers as the "
                         f"network takes them, got {images.dtype}; scale and convert")
    with np.errstate(over="ignore"):
        images = np.ascontiguousarray(images, np.float32)
    if not np.isfinite([images.min(), images.max()]).all():     # NaN is passed on
        raise ValueError(f"{path}: the images hold NaN or infinite values")
    return images


def _read_array(path):
    with path.open("rb") as start:
        magic = start.read(4)
    if path.suffix.lower() == ".npy":
        if magic != b"\x93NUM":
            raise ValueError("no numpy header")
        return np.load(path, allow_pickle=False)
    if magic[:2] != b"PK":
        raise ValueError("no zip header")
    with np.load(path, allow_pickle=False) as arrays:
        key = next((key for key in ("images", "x") if key in arrays.files), None)
        if key is None and len(arrays.files) == 1:
            key = arrays.files[0]
        if key is None:
            raise ValueError(f"{path}: holds {_list(arrays.files) or 'nothing'}; call "
                             "the array of images \"images\"")
        _check_unpacked(path, key, arrays.zip)
        images = arrays[key]
    if not isinstance(images, np.ndarray):
        raise ValueError(f"{key} is no array")
    return images


def _check_unpacked(path, key, archive):
    """Refuse an array that a small file would fill the memory with."""
    for member in archive.infolist():
        if member.filename in (key, f"{key}.npy") and member.file_size > max(
                MOST_UNPACKED_B, MOST_RATIO * member.compress_size):
            raise ValueError(f"{path}: {key} unpacks to {member.file_size:,} bytes, "
                             f"more than {MOST_RATIO} times its "
                             f"{member.compress_size:,} in the file; save it "
                             "uncompressed, as .npy")


def _read_pictures(folder):
    from PIL import Image

    files = sorted(file for file in folder.iterdir()
                   if file.suffix.lower() in PICTURES)
    if not files:
        raise ValueError(f"{folder}: no picture in it; {', '.join(PICTURES)} are read")
    images = np.empty(0)
    for i, file in enumerate(files):
        try:
            with _silent(Image.DecompressionBombWarning):   # refused below, in one line
                opened = Image.open(file, formats=("PNG", "JPEG"))
            with opened as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise ValueError(f"it says that it has {_size(picture.size[::-1])} "
                                     f"pixels, more than {MOST_PIXELS:,}; scale it "
                                     "down")
                if picture.mode.startswith(("I", "F")):
                    raise ValueError(f"{picture.mode} pixels; save it with 8 bits")
                pixels = np.asarray(picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError, EOFError, MemoryError,
                Image.DecompressionBombError) as problem:
            reason = first_line(problem).split(" '")[0]
            raise ValueError(f"{file}: cannot be read as a picture: {reason}") from None
        if i == 0:
            images = np.empty((len(files), 3, *pixels.shape[:2]), np.float32)
        if pixels.shape[:2] != images.shape[2:]:
            raise ValueError(
                f"{file}: {_size(pixels.shape)} pixels, but {files[0].name} has "
                f"{_size(images.shape[2:])}; all must have one size")
        images[i] = pixels.transpose(2, 0, 1)
    images /= 255
    return images


@contextmanager
def _silent(warning):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", warning)
        yield


def _size(shape):
    return f"{shape[0]}x{shape[1]}"


def load_weights(module, path):
    """Load trained weights into a torch module; every tensor must fit.

    Everything is checked before the module changes. A module on meta gets memory,
    if the file holds all that it needs.

    Parameters
    ----------
    module : torch.nn.Module
    path : str or Path
        ``.safetensors``, or ``.pt``/``.pth`` with a state dict (also one that a
        checkpoint holds as ``state_dict``).

    Raises
    ------
    ValueError
        No such file, not that format; tensors that are unknown, missing, of another
        shape or kind, or hold NaN or infinite values; a module on meta with values
        that no file holds.
    """
    import torch

    path = Path(path)
    if not isinstance(module, torch.nn.Module):
        raise ValueError(f"a torch.nn.Module is needed, got a {type(module).__name__}")
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    from eyeriss_sim.importers.torch_module import unwrapped
    module = unwrapped(module)
    wanted = module.state_dict(keep_vars=True)
    tensors = _without_wrappers(_read_tensors(path), wanted)
    _check_names(path, wanted, tensors)
    for key, tensor in tensors.items():
        _check_tensor(f"{path}: {key}", tensor, wanted[key])
    if any(torch.is_tensor(value) and value.is_meta for value in [
            *module.parameters(), *module.buffers()]):
        _give_memory(module, path)
    try:
        # Ties may be stored once, so what is missing was allowed to be.
        module.load_state_dict(tensors, strict=False)
    except RuntimeError as problem:
        raise ValueError(f"{path}: does not fit the module: "
                         f"{first_line(problem)}") from problem


def _read_tensors(path):
    import pickle

    import torch

    ending = path.suffix.lower()
    if ending == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError, RuntimeError, KeyError,
                AttributeError) as problem:
            raise ValueError(f"{path}: not a safetensors file, or cut short: "
                             f"{first_line(problem)}") from None
    if ending not in (".pt", ".pth"):
        raise ValueError(f"{path}: weights come as .safetensors, .pt or .pth")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        cure = ("it holds more than tensors; save module.state_dict()"
                if "nsupported" in str(problem) or "GLOBAL" in str(problem)
                else "not a file of torch.save, or cut short")
        raise ValueError(f"{path}: {cure}") from None
    except Exception as problem:    # whatever a broken pickle makes torch stumble on
        raise ValueError(f"{path}: not a file of torch.save, or cut short: "
                         f"{first_line(problem)}") from None
    if isinstance(tensors, dict) and isinstance(tensors.get("state_dict"), dict):
        tensors = tensors["state_dict"]
    if not isinstance(tensors, dict) or not all(
            isinstance(key, str) and torch.is_tensor(value)
            for key, value in tensors.items()):
        raise ValueError(f"{path}: holds no state dict; save module.state_dict()")
    for key, tensor in tensors.items():
        check_dense(f"{path}: {key}", tensor)
    return dict(tensors)


def check_dense(where, tensor):
    """Refuse a tensor that is no block of numbers in memory."""
    import torch

    kind, cure = None, "save it as a dense tensor"
    if tensor.is_nested:
        kind = "a nested tensor"
    elif tensor.layout != torch.strided:
        kind, cure = (f"a sparse tensor ({str(tensor.layout).removeprefix('torch.')})",
                      "save tensor.to_dense()")
    elif tensor.is_quantized:
        kind, cure = "a quantised tensor", "save tensor.dequantize()"
    elif tensor.is_meta:
        kind, cure = "a tensor on meta, which has no values", "save one that has"
    elif tensor.is_complex():
        kind, cure = "a complex tensor", "the model has real weights only"
    elif tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        kind, cure = "one value for several places", "save tensor.contiguous()"
    if kind:
        raise ValueError(f"{where} holds {kind}; {cure}")


def _without_wrappers(tensors, wanted):
    """Names as the module itself has them, without what wraps it when it was saved."""
    for prefix in WRAPPERS * 2:
        if tensors and not tensors.keys() & wanted.keys() and all(
                key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value
                       for key, value in tensors.items()}
    return tensors


def _check_names(path, wanted, tensors):
    unknown = [key for key in tensors if key not in wanted]
    held = {id(wanted[key]) for key in tensors if key in wanted}
    missing = [key for key, value in wanted.items()
               if key not in tensors and id(value) not in held
               # Older files don't count the batches of a batch norm.
               and not key.endswith("num_batches_tracked")]
    problems = [f"{kind} {_list(keys)}" for kind, keys in (
        ("lacks", missing), ("has unknown", unknown)) if keys]
    if problems:
        raise ValueError(f"{path}: {' and '.join(problems)}; is it this module's file?")


def _check_tensor(where, tensor, wanted):
    import torch
    from torch.nn.parameter import is_lazy

    if not torch.is_tensor(wanted):
        raise ValueError(f"{where} is extra state, which is not loaded")
    if is_lazy(wanted):
        return
    if tensor.shape != wanted.shape:
        raise ValueError(f"{where} has the shape {tuple(tensor.shape)}, but the module "
                         f"needs {tuple(wanted.shape)}")
    if tensor.is_floating_point() != wanted.is_floating_point():
        raise ValueError(f"{where} holds {_dtype(tensor)}, but the module needs "
                         f"{_dtype(wanted)}")
    if tensor.is_floating_point() and tensor.numel():
        # As the module will hold them: a narrower type may overflow.
        values = tensor.to(wanted.dtype).float()
        is_weight = isinstance(wanted, torch.nn.Parameter)
        wrong = ~torch.isfinite(values) if is_weight else torch.isnan(values)
        if wrong.any():
            raise ValueError(f"{where} holds {int(wrong.sum())} NaN or infinite values "
                             f"of {values.numel()}")


def _dtype(tensor):
    return str(tensor.dtype).removeprefix("torch.")


def _give_memory(module, path):
    """Put a module's parameters and buffers from meta onto the CPU, ties kept."""
    import torch

    kept = module.state_dict(keep_vars=True)
    for where, child in module.named_modules():
        lost = [key for key, value in child._buffers.items()
                if value is not None and f"{where}.{key}".lstrip(".") not in kept]
        lost += [key for key, value in vars(child).items()
                 if torch.is_tensor(value) and value.is_meta]
        if lost:
            raise ValueError(
                f"{path}: the module is on meta, and no file holds its "
                f"{f'{where}.{lost[0]}'.lstrip('.')}; build it with "
                "load_module(..., meta=False)")
    made = {}
    for child in module.modules():
        for values in (child._parameters, child._buffers):
            for key, value in values.items():
                if value is None or not value.is_meta:
                    continue
                if id(value) not in made:
                    memory = torch.zeros_like(value, device="cpu")
                    if isinstance(value, torch.nn.Parameter):
                        memory = torch.nn.Parameter(memory, value.requires_grad)
                    made[id(value)] = value, memory
                values[key] = made[id(value)][1]


def _list(names):
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def first_line(problem):
    """First line of an exception, or its name."""
    lines = str(problem).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(problem).__name__
