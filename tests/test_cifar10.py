import hashlib
import io
import pickle
import struct
import tarfile
from typing import ClassVar

import numpy as np
import pytest
import torch

from pruning.datasets import Split, Splits, cifar10, load, pixel_statistics
from pruning.datasets.cifar10 import split_places
from pruning.datasets.cifar10_archive import BATCHES, FOLDERS, download, read_archive

RECORDS = 20


def batch(i, records=RECORDS):
    rng = np.random.default_rng(i)
    return (rng.integers(0, 256, (records, 3072), dtype=np.uint8),
            rng.integers(0, 10, records))


def binary(images, labels):
    return np.column_stack([labels.astype(np.uint8), images]).tobytes()


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 did, as one kind of string."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, content):
        content = content.encode() if isinstance(content, str) else content
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)

    dispatch[bytes] = dispatch[str] = save_string


def python_2(images, labels):
    """A batch as Python 2 and its numpy wrote it."""
    table = {"batch_label": "one of 5", "labels": labels.tolist(), "data": images,
             "filenames": ["a_s_000001.png"] * len(labels)}
    content = io.BytesIO()
    Python2Pickler(content, protocol=2).dump(table)
    # What the module was called then.
    return content.getvalue().replace(b"numpy._core.", b"numpy.core.")


def write(folder, layout, make, records=RECORDS):
    folder = folder / FOLDERS[layout]
    folder.mkdir()
    for i, name in enumerate(BATCHES):
        ending = ".bin" if layout == "binary" else ""
        (folder / f"{name}{ending}").write_bytes(make(*batch(i, records)))
    return folder


@pytest.fixture(params=[("binary", binary), ("python", python_2)],
                ids=["binary", "python"])
def archive(request, tmp_path):
    return write(tmp_path, *request.param)


def check(found):
    assert list(found) == BATCHES
    for i, name in enumerate(BATCHES):
        images, labels = batch(i)
        assert np.array_equal(found[name][0], images.reshape(-1, 3, 32, 32))
        assert np.array_equal(found[name][1], labels)
        assert found[name][0].dtype == np.uint8 and found[name][1].dtype == np.int64


def test_both_layouts_are_read_as_folder_parent_and_tar(archive, tmp_path):
    check(read_archive(archive, RECORDS))
    check(read_archive(archive.parent, RECORDS))
    packed = tmp_path / "anything.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(archive, archive.name)
    check(read_archive(packed, RECORDS))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    packed.rename(elsewhere / "cifar-10-python.tar.gz")
    check(read_archive(elsewhere, RECORDS))


def test_too_few_records_are_refused_with_file_and_bytes(archive):
    with pytest.raises(ValueError, match=r"data_batch_1.* has .* bytes; 21 records"):
        read_archive(archive, RECORDS + 1)
    with pytest.raises(ValueError, match="10,000 records"):
        read_archive(archive)


def test_missing_file_is_named(archive):
    next(archive.glob("test_batch*")).unlink()
    with pytest.raises(ValueError, match=r"test_batch.* is missing"):
        read_archive(archive, RECORDS)


def test_label_above_nine_is_refused(tmp_path):
    folder = write(tmp_path, "binary",
                   lambda images, labels: binary(images, labels + 5))
    with pytest.raises(ValueError, match=r"labels .* CIFAR-10 has 0 to 9"):
        read_archive(folder, RECORDS)


def test_tar_cut_short_is_refused(archive, tmp_path):
    packed = tmp_path / "cut.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(archive, archive.name)
    packed.write_bytes(packed.read_bytes()[:-5000])
    with pytest.raises(ValueError, match="cut short"):
        read_archive(packed, RECORDS)


def test_an_archive_is_refused_if_what_is_in_it_has_changed(archive, tmp_path):
    packed = tmp_path / "whole.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(archive, archive.name)
    whole, damaged = packed.read_bytes(), tmp_path / "damaged.tar.gz"
    refused = 0
    for place in range(100, len(whole), len(whole) // 12):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        damaged.write_bytes(changed)
        try:
            found = read_archive(damaged, RECORDS)
        except ValueError as problem:
            assert "damaged.tar.gz" in str(problem) and "\n" not in str(problem)
            refused += 1
        else:
            check(found)            # a bit that fills a byte up
    assert refused > 6


def test_folder_without_an_archive_says_how_to_get_one(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="--download fetches"):
            read_archive(path)


class Call:
    def __reduce__(self):
        import os
        return os.system, ("touch called",)


@pytest.mark.parametrize("content, told", [
    (pickle.dumps({"data": Call(), "labels": []}, 2), "system"),
    (pickle.dumps({"data": eval, "labels": []}, 2), "eval"),
    (pickle.dumps({"labels": []}, 2), "no 'data'"),
    (pickle.dumps([1, 2], 2), "no batch of CIFAR-10"),
    (pickle.dumps({"data": "bytes", "labels": []}, 2), "no array"),
    (python_2(*batch(0))[:9_000], "no batch of CIFAR-10"),
    (python_2(np.zeros((RECORDS, 768), np.float32), batch(0)[1]), "uint8 .* got f4"),
    (python_2(np.asfortranarray(batch(0)[0]), batch(0)[1]), "must be uint8"),
    (python_2(batch(0)[0].reshape(-1, 3, 1024), batch(0)[1]), "got u1 of shape"),
    (python_2(batch(0)[0], batch(0)[1][1:]), "labels must be a list of 20"),
], ids=range(10))
def test_pickle_with_anything_but_pixels_is_refused_and_calls_nothing(
        content, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path, "python", python_2)
    # Of the right size, so that it is the content that is looked at.
    (folder / BATCHES[0]).write_bytes(content.ljust(RECORDS * 3072 + 100, b"."))
    with pytest.raises(ValueError, match=told):
        read_archive(folder, RECORDS)
    assert not (tmp_path / "called").exists()


def test_whole_archive_becomes_four_parts_with_each_image_once(tmp_path):
    folder = tmp_path / FOLDERS["binary"]
    folder.mkdir()
    number = np.arange(60_000)
    records = np.zeros((60_000, 3073), np.uint8)
    records[:, 0] = number % 10
    for i in range(3):      # the image's number, in its first three red pixels
        records[:, 1 + i] = number >> 8 * i
    for i, name in enumerate(BATCHES):
        (folder / f"{name}.bin").write_bytes(records[10_000 * i:10_000 * (i + 1)])
    splits = load("cifar10", tmp_path)
    parts = [splits.fit, splits.selector, splits.choosing, splits.test]
    assert [len(part) for part in parts] == [45_000, 2_500, 2_500, 10_000]
    found = []
    for part in parts:
        assert part.images.shape == (len(part), 3, 32, 32)
        assert (part.images.dtype, part.labels.dtype) == (torch.uint8, torch.int64)
        pixels = part.images[:, 0, 0, :3].long()
        found.append(pixels[:, 0] + (pixels[:, 1] << 8) + (pixels[:, 2] << 16))
        assert torch.equal(part.labels, found[-1] % 10)
    assert sorted(torch.cat(found).tolist()) == number.tolist()
    assert torch.equal(found[-1], torch.arange(50_000, 60_000))


def test_the_split_is_the_same_everywhere_and_for_ever():
    places = split_places()
    assert hashlib.sha256(np.concatenate(list(places.values())).astype("<i8").tobytes()
                          ).hexdigest() == PERMUTATION
    assert {name: len(chosen) for name, chosen in places.items()} == cifar10.SIZES


PERMUTATION = "483c1cf9e75c452a68e551382179cbe3c11942844d61fb41db50d2a4e827564b"


def test_normalised_fitting_images_have_mean_0_and_deviation_1():
    images = torch.from_numpy(batch(0, 200)[0].reshape(-1, 3, 32, 32) // 3)
    statistics = pixel_statistics(images)
    assert statistics["mean"].shape == statistics["std"].shape == (3, 1, 1)
    nothing = Split(images, torch.zeros(200, dtype=torch.int64))
    splits = Splits(nothing, nothing, nothing, nothing, **statistics)
    normalised = splits.normalise(images)
    assert normalised.dtype == torch.float32
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(3), atol=1e-5,
                               rtol=0)
    torch.testing.assert_close(normalised.std((0, 2, 3)), torch.ones(3), atol=1e-4,
                               rtol=0)
    torch.testing.assert_close(splits.normalise(images[5]), normalised[5])


def test_download_fetches_nothing_where_cifar10_is(archive):
    assert download(archive.parent, "file:///nowhere", "") == archive


def test_download_checks_what_it_got_and_is_not_repeated(tmp_path):
    source = tmp_path / "site" / "cifar-10-binary.tar.gz"
    source.parent.mkdir()
    source.write_bytes(b"an archive")
    md5 = hashlib.md5(b"an archive").hexdigest()
    target, seen = tmp_path / "new" / "data", []
    with pytest.raises(ValueError, match=r"10 bytes with MD5 .*, not 0000"):
        download(target, source.as_uri(), "0000")
    assert not list(target.iterdir())
    found = download(target, source.as_uri(), md5, lambda *done: seen.append(done))
    assert found.read_bytes() == b"an archive" and seen == [(10, 10)]
    source.unlink()
    assert download(target, source.as_uri(), md5) == found
    with pytest.raises(ValueError, match="cannot be fetched"):
        download(tmp_path / "other", source.as_uri(), md5)


def test_tar_members_are_read_by_name_and_nothing_is_unpacked(tmp_path):
    packed = tmp_path / "evil.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        for i, name in enumerate(BATCHES):
            content = binary(*batch(i))
            member = tarfile.TarInfo(f"../../{name}.bin")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    check(read_archive(packed, RECORDS))
    assert [path.name for path in tmp_path.iterdir()] == ["evil.tar.gz"]
