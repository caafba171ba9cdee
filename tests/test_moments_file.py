"""Moments files: what is written is read back, fadtk's own file included, and bad ones are refused."""

import io
import itertools
import os
import tarfile
import zipfile

import numpy as np
import pytest

from jaxemo.distances import frechet, moments_file, statistics
from jaxemo.distances.moments_file import Moments

# What the project promises against float64; the published statistics reach 1e-14 against Cholesky.
RELATIVE_TOLERANCE = 1e-5
SDIST = os.environ.get("JAXEMO_FADTK_SDIST")


def moments(seed, *, num_dimensions=4):
    rows = np.random.default_rng(seed).normal(size=(20, num_dimensions))
    return Moments(rows.mean(0), np.cov(rows.T))


def assert_equal(read, written):
    for ours, theirs in zip(read, written, strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_array_equal(ours, theirs)


def stacked(*layers):
    return Moments(*(np.stack(leaves) for leaves in zip(*layers, strict=True)))


@pytest.mark.parametrize("num_layers", [1, 3])
def test_written_layers_are_read_back_exactly(tmp_path, num_layers):
    path = tmp_path / "moments.npz"
    layers = stacked(*(moments(seed) for seed in range(num_layers)))
    moments_file.write_layer_moments(path, "clap-0.3", moments=layers)
    assert moments_file.names_in(path) == ["clap-0.3-1", "clap-0.3-2", "clap-0.3"][-num_layers:]
    assert_equal(moments_file.read_layer_moments(path, "clap-0.3", num_layers=num_layers), layers)
    assert [file.name for file in tmp_path.iterdir()] == ["moments.npz"]


def test_a_file_as_fadtk_writes_it_is_read_layer_by_layer(tmp_path):
    """fadtk's last layer carries the plain model name, and float32 is widened."""
    layers = [Moments(*(leaf.astype(np.float32) for leaf in moments(seed))) for seed in range(3)]
    keys = ["MERT-1", "MERT-2", "MERT"]
    arrays = {f"{key}.mu": layer.mean for key, layer in zip(keys, layers, strict=True)}
    arrays |= {f"{key}.cov": layer.covariance for key, layer in zip(keys, layers, strict=True)}
    np.savez_compressed(tmp_path / "fma.npz", **arrays)
    read = moments_file.read_layer_moments(tmp_path / "fma.npz", "MERT", num_layers=3)
    assert_equal(read, [np.stack(leaves) for leaves in zip(*layers, strict=True)])


def test_statistics_survive_a_file_and_give_the_same_distance(tmp_path):
    rows = np.random.default_rng(0).normal(size=(3, 30, 4)).astype(np.float32)
    cells = statistics.update(
        statistics.empty_statistics(4, cells=(3,)), rows, np.ones((3, 30), bool)
    )
    path = tmp_path / "layers.npz"
    moments_file.write_layer_moments(path, "ours", moments=moments_file.moments_of(cells))
    read = moments_file.read_layer_moments(path, "ours", num_layers=3)
    from_file = frechet.frechet_distance_from_moments(
        (read.mean[0], read.covariance[0]), (read.mean[2], read.covariance[2])
    )
    expected = frechet.frechet_distance(rows[0], rows[2])
    np.testing.assert_allclose(float(from_file), float(expected), rtol=1e-10)


def test_cells_without_a_covariance_are_not_written():
    with pytest.raises(ValueError, match="2 cells have fewer than 2 rows"):
        moments_file.moments_of(statistics.empty_statistics(4, cells=(2,)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"m.mu": np.zeros(3)}, r"has no 'm\.cov'\. It holds these names: 'm'"),
        ({"other.mu": np.zeros(3)}, r"has no 'm\.mu', 'm\.cov'.*'other'"),
        ({"m.mu": np.zeros(3), "m.cov": np.eye(4)}, r"'m\.mu' and 'm\.cov' have shapes"),
        ({"m.mu": np.zeros(0), "m.cov": np.zeros((0, 0))}, "have shapes"),
        ({"m.mu": np.zeros(2), "m.cov": np.full((2, 2), np.nan)}, "hold NaN"),
        ({"m.mu": np.zeros(2, int), "m.cov": np.eye(2)}, r"key 'm\.mu' cannot be read: type int"),
        ({"m.mu": np.array([None, 1]), "m.cov": np.eye(2)}, r"key 'm\.mu'.*type object"),
        ({"m.mu": np.zeros(9000), "m.cov": np.eye(2)}, "MAX_DIMENSIONS"),
        ({"m.mu": np.zeros(2), "m.cov": np.zeros((2, 2, 2))}, r"key 'm\.cov'.*shape \(2, 2, 2\)"),
    ],
)
def test_pairs_that_are_no_moments_are_refused_by_key(tmp_path, arrays, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message) as error:
        moments_file.read_layer_moments(path, "m", num_layers=1)
    assert str(path) in str(error.value)


def test_a_header_larger_than_its_data_is_refused_before_allocation(tmp_path):
    """8000 x 8000 is claimed, 8 bytes are there."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (8000, 8000)}
    )
    path = tmp_path / "bad.npz"
    np.savez(path, **{"m.mu": np.zeros(2)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m.cov.npy", header.getvalue() + b"\0" * 8)
    with pytest.raises(ValueError, match=r"key 'm\.cov' cannot be read: shape \(8000, 8000\)"):
        moments_file.read_layer_moments(path, "m", num_layers=1)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "bad.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(ValueError, match=r"bad\.npz' is not an \.npz file"):
        moments_file.read_layer_moments(path, "m", num_layers=1)


def test_a_damaged_array_is_refused_by_key(tmp_path):
    path = tmp_path / "bad.npz"
    moments_file.write_layer_moments(path, "m", moments=stacked(moments(0)))
    content = path.read_bytes()
    position = content.index(moments(0).covariance.tobytes())
    path.write_bytes(content[:position] + b"\xff" + content[position + 1 :])
    with pytest.raises(ValueError, match=r"key 'm\.cov' cannot be read"):
        moments_file.read_layer_moments(path, "m", num_layers=1)


def test_layers_of_different_widths_are_refused(tmp_path):
    path = tmp_path / "bad.npz"
    layers = {"m-1": moments(0), "m": moments(1, num_dimensions=5)}
    arrays = {f"{name}.mu": layer.mean for name, layer in layers.items()}
    np.savez(path, **arrays, **{f"{name}.cov": layers[name].covariance for name in layers})
    with pytest.raises(ValueError, match=r"widths \[4, 5\]"):
        moments_file.read_layer_moments(path, "m", num_layers=2)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (Moments(np.zeros((0, 2)), np.zeros((0, 2, 2))), "no layer to write"),
        (Moments(np.zeros((2, 2)), np.ones((2, 3, 3))), r"'a-1\.mu'"),
        (Moments(np.zeros((1, 2)), np.full((1, 2, 2), np.nan)), r"'a\.cov' hold NaN"),
    ],
)
def test_bad_moments_are_not_written(tmp_path, layers, message):
    with pytest.raises(ValueError, match=message):
        moments_file.write_layer_moments(tmp_path / "out.npz", "a", moments=layers)
    assert not list(tmp_path.iterdir())


@pytest.mark.reference
@pytest.mark.skipif(SDIST is None, reason="JAXEMO_FADTK_SDIST does not name fadtk-1.1.0.tar.gz")
def test_published_mert_layers_are_at_their_float64_distances(tmp_path):
    """All 66 pairs of fadtk's real-music statistics, against Cholesky factors and scipy's SVD."""
    from scipy import linalg

    with tarfile.open(SDIST) as archive:
        content = archive.extractfile("fadtk-1.1.0/fadtk/stats/fma_pop.npz").read()
    (tmp_path / "fma_pop.npz").write_bytes(content)
    layers = moments_file.read_layer_moments(tmp_path / "fma_pop.npz", "MERT-v1-95M", num_layers=12)
    factors = [linalg.cholesky(cov, lower=True) for cov in layers.covariance]
    for i, j in itertools.combinations(range(12), 2):
        expected = (
            np.sum((layers.mean[i] - layers.mean[j]) ** 2)
            + np.trace(layers.covariance[i])
            + np.trace(layers.covariance[j])
            - 2 * linalg.svdvals(factors[i].T @ factors[j]).sum()
        )
        ours = frechet.frechet_distance_from_moments(
            (layers.mean[i], layers.covariance[i]), (layers.mean[j], layers.covariance[j])
        )
        np.testing.assert_allclose(float(ours), expected, rtol=RELATIVE_TOLERANCE)
