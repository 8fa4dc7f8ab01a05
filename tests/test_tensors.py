import json
import struct

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis.extra import numpy as arrays_of

from statim.errors import ModelError
from statim.tensors import load_tensors, save_tensors

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
            lambda name: name != "__metadata__"
        ),
        st.sampled_from(DTYPES).flatmap(
            lambda dtype: arrays_of.arrays(
                dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
            )
        ),
        max_size=4,
    ),
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.text(st.characters(exclude_categories=["Cs"])),
        max_size=3,
    ),
)
def test_round_trip(tmp_path, given_arrays, metadata):
    path = tmp_path / "a.safetensors"
    save_tensors(path, given_arrays, metadata)
    loaded, found = load_tensors(path)
    assert found == metadata
    assert loaded.keys() == given_arrays.keys()
    theirs = safetensors.numpy.load_file(path)
    for name, array in given_arrays.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.tobytes() == theirs[name].tobytes()


def test_the_bytes_are_those_of_safetensors(tmp_path):
    """Two libraries that hash our files, or theirs, see no difference."""
    given_arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.arange(3, dtype=np.float32),
        "halves": np.ones(3, np.float16),
        "wide": np.arange(4),
        "none": np.zeros((0, 4), np.int8),
    }
    save_tensors(tmp_path / "ours", given_arrays, {"state": '{"Ü": 1}'})
    safetensors.numpy.save_file(given_arrays, tmp_path / "theirs", {"state": '{"Ü": 1}'})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_strided_and_big_endian_arrays(tmp_path):
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    save_tensors(tmp_path / "a", {"transposed": base.T, "stepped": base[::2, ::3], "big": base.astype(">f4")})
    loaded, _ = load_tensors(tmp_path / "a")
    assert (loaded["big"] == base).all()
    assert (loaded["transposed"] == base.T).all()
    assert (loaded["stepped"] == base[::2, ::3]).all()


def test_arrays_are_mapped_and_cannot_be_written(tmp_path):
    save_tensors(tmp_path / "a", {"x": np.zeros(10, np.float32)})
    x = load_tensors(tmp_path / "a")[0]["x"]
    assert not x.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        x[0] = 1


def test_a_mapped_file_may_be_replaced(tmp_path):
    """What was loaded stays as it was; a rename does not touch the old file's pages."""
    save_tensors(tmp_path / "a", {"x": np.zeros(100_000, np.float32)})
    old = load_tensors(tmp_path / "a")[0]["x"]
    save_tensors(tmp_path / "a", {"x": np.ones(100_000, np.float32)})
    assert old.max() == 0
    assert load_tensors(tmp_path / "a")[0]["x"].min() == 1


def write_raw(path, header, data):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_bfloat16_is_widened(tmp_path):
    values = np.array([[1.0, -2.5], [3.0e38, 0.0]], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    write_raw(
        tmp_path / "a", {"x": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}, halves.tobytes()
    )
    x = load_tensors(tmp_path / "a")[0]["x"]
    assert x.dtype == np.float32
    assert np.allclose(x, values, rtol=1 / 128)


def test_types_that_numpy_lacks(tmp_path):
    write_raw(tmp_path / "a", {"x": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, bytes(4))
    with pytest.raises(ModelError, match="the array 'x' has the type F8_E4M3, which statim cannot read"):
        load_tensors(tmp_path / "a")


def test_missing_and_unreadable(tmp_path):
    with pytest.raises(ModelError, match="is missing"):
        load_tensors(tmp_path / "a")
    with pytest.raises(ModelError, match=r"cannot be read|is not a whole"):
        load_tensors(tmp_path)
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ModelError, match="is not a whole safetensors file"):
        load_tensors(tmp_path / "empty")


def test_every_truncation_is_refused(tmp_path):
    save_tensors(tmp_path / "a", {"x": np.arange(10, dtype=np.float32), "y": np.zeros((2, 3), np.int8)})
    whole = (tmp_path / "a").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(ModelError, match="is not a whole safetensors file"):
            load_tensors(tmp_path / "cut")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_gives_our_error_or_arrays(tmp_path, data):
    path = tmp_path / "a"
    save_tensors(path, {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"format": "1"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        arrays, _ = load_tensors(path)
    except ModelError:
        return
    for array in arrays.values():
        array.tobytes()


@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 8]}},
        {"x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}},
        {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**60]}},
        {"x": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"x": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"x": 1},
        [],
        {"__metadata__": {"a": 1}},
    ],
)
def test_hostile_headers(tmp_path, header):
    write_raw(tmp_path / "a", header, bytes(8))
    with pytest.raises(ModelError, match="is not a whole safetensors file"):
        load_tensors(tmp_path / "a")


def test_a_header_longer_than_the_file(tmp_path):
    (tmp_path / "a").write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(ModelError, match="is not a whole safetensors file"):
        load_tensors(tmp_path / "a")
