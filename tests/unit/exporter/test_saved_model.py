"""SavedModels: sound ones answer as TensorFlow's own loader has them answer; hostile ones have no effect."""

from __future__ import annotations

import importlib
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from exporter.errors import ExportError
from exporter.keras_loading import load_classifier
from exporter.saved_model_freezing import FILE, freeze
from exporter.saved_model_graph import ALLOWED
from tests.support.kills import can_trace

v1 = tf.compat.v1
raw = tf.raw_ops
SECRET = b"the content of a secret file"


class Surroundings:
    """A folder with a secret file, and a listener that counts connections."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.secret = folder / "secret"
        self.secret.write_bytes(SECRET)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]

    def is_untouched(self) -> bool:
        """Whether the secret alone is in the folder, unchanged, and nobody connected."""
        try:
            self.listener.accept()
        except BlockingIOError:
            return list(self.folder.iterdir()) == [self.secret] and self.secret.read_bytes() == SECRET
        return False


@pytest.fixture(autouse=True)
def no_op_determinism() -> None:
    """A training within this process turns it on, and TensorFlow then makes no random operation without a seed."""
    importlib.import_module("tensorflow.python.framework.config").disable_op_determinism()


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Surroundings]:
    surroundings = Surroundings(tmp_path / "watched")
    yield surroundings
    surroundings.listener.close()


def number(text: Any) -> Any:
    """A string tensor as a number that depends on it, without an operation that is refused for itself."""
    return tf.cast(raw.Size(input=text), tf.float32)


#: Each gives a number, or an operation without an output, from the surroundings.
HOSTILE: dict[str, Callable[[Surroundings], Any]] = {
    "ReadFile": lambda s: number(tf.io.read_file(str(s.secret))),
    "WriteFile": lambda s: tf.io.write_file(str(s.folder / "x"), "x"),
    "MatchingFiles": lambda s: number(tf.io.matching_files(str(s.folder / "*"))),
    "WholeFileReaderV2": lambda s: number(raw.ReaderNumRecordsProducedV2(reader_handle=raw.WholeFileReaderV2())),
    "TextLineReaderV2": lambda s: number(raw.ReaderNumRecordsProducedV2(reader_handle=raw.TextLineReaderV2())),
    "FixedLengthRecordReaderV2": lambda s: number(
        raw.ReaderNumRecordsProducedV2(reader_handle=raw.FixedLengthRecordReaderV2(record_bytes=1))
    ),
    "DebugIdentityV2": lambda s: raw.DebugIdentityV2(
        input=tf.constant(1.0), tfdbg_context_id="", debug_urls=[f"file://{s.folder}/dump"]
    ),
    "DebugIdentity": lambda s: raw.DebugIdentity(
        input=tf.constant(1.0), debug_urls=[f"file://{s.folder}/dump", f"grpc://127.0.0.1:{s.port}"]
    ),
    "DebugNumericSummary": lambda s: tf.cast(
        raw.DebugNumericSummary(input=tf.constant(1.0), debug_urls=[f"file://{s.folder}/dump"])[0], tf.float32
    ),
    "DebugNanCount": lambda s: tf.cast(
        raw.DebugNanCount(input=tf.constant(1.0), debug_urls=[f"grpc://127.0.0.1:{s.port}"]), tf.float32
    ),
    "SaveV2": lambda s: raw.SaveV2(
        prefix=str(s.folder / "x"), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
    ),
    "Save": lambda s: raw.Save(filename=str(s.folder / "x"), tensor_names=["a"], data=[tf.constant(1.0)]),
    "SaveSlices": lambda s: raw.SaveSlices(
        filename=str(s.folder / "x"), tensor_names=["a"], shapes_and_slices=[""], data=[tf.constant(1.0)]
    ),
    "MergeV2Checkpoints": lambda s: raw.MergeV2Checkpoints(
        checkpoint_prefixes=[str(s.folder / "a")], destination_prefix=str(s.folder / "b")
    ),
    "RestoreV2": lambda s: raw.RestoreV2(
        prefix=str(s.secret), tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
    )[0],
    "Restore": lambda s: raw.Restore(file_pattern=str(s.secret), tensor_name="a", dt=tf.float32),
    "ImmutableConst": lambda s: raw.ImmutableConst(dtype=tf.float32, shape=[1], memory_region_name=str(s.secret)),
    "PrintV2": lambda s: raw.PrintV2(input="x", output_stream=f"file://{s.folder}/x"),
    "Print": lambda s: raw.Print(input=tf.constant(1.0), data=[tf.constant(1.0)]),
    "PyFunc": lambda s: raw.PyFunc(input=[tf.constant(1.0)], token="pyfunc_0", Tout=[tf.float32])[0],
    "PyFuncStateless": lambda s: raw.PyFuncStateless(input=[tf.constant(1.0)], token="pyfunc_0", Tout=[tf.float32])[0],
    "EagerPyFunc": lambda s: raw.EagerPyFunc(input=[tf.constant(1.0)], token="pyfunc_0", Tout=[tf.float32])[0],
    "HashTableV2": lambda s: number(
        raw.LookupTableSizeV2(table_handle=raw.HashTableV2(key_dtype=tf.int64, value_dtype=tf.float32))
    ),
    "InitializeTableFromTextFileV2": lambda s: raw.InitializeTableFromTextFileV2(
        table_handle=raw.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64),
        filename=str(s.secret),
        key_index=-2,
        value_index=-1,
    ),
    "TextLineDataset": lambda s: number(
        raw.DatasetCardinality(
            input_dataset=raw.TextLineDataset(filenames=[str(s.secret)], compression_type="", buffer_size=0)
        )
    ),
    "TFRecordDataset": lambda s: number(
        raw.DatasetCardinality(
            input_dataset=raw.TFRecordDataset(filenames=[str(s.secret)], compression_type="", buffer_size=0)
        )
    ),
    "DatasetToTFRecord": lambda s: raw.DatasetToTFRecord(
        input_dataset=tf.data.Dataset.from_tensors("x")._variant_tensor,
        filename=str(s.folder / "x"),
        compression_type="",
    ),
    "CacheDataset": lambda s: number(
        raw.DatasetCardinality(
            input_dataset=raw.CacheDataset(
                input_dataset=tf.data.Dataset.from_tensors(1.0)._variant_tensor,
                filename=str(s.folder / "x"),
                output_types=[tf.float32],
                output_shapes=[()],
            )
        )
    ),
    "SummaryWriter": lambda s: raw.CreateSummaryFileWriter(
        writer=raw.SummaryWriter(), logdir=str(s.folder), max_queue=1, flush_millis=1, filename_suffix=""
    ),
    "DecodeJpeg": lambda s: tf.cast(raw.DecodeJpeg(contents=tf.constant("x"))[0, 0, 0], tf.float32),
    "StringToNumber": lambda s: raw.StringToNumber(string_tensor=tf.io.read_file(str(s.secret))),
    "DecodeRaw": lambda s: tf.cast(tf.io.decode_raw(tf.io.read_file(str(s.secret)), tf.uint8)[0], tf.float32),
    "Assert": lambda s: raw.Assert(condition=True, data=["x"]),
    "AssignVariableOp": lambda s: raw.AssignVariableOp(
        resource=raw.VarHandleOp(dtype=tf.float32, shape=[]), value=tf.constant(1.0)
    ),
    "RandomUniform": lambda s: tf.random.uniform(()),
    "StatelessRandomUniformV2": lambda s: tf.random.stateless_uniform((), (1, 2)),
    "Timestamp": lambda s: tf.cast(tf.timestamp(), tf.float32),
    "FIFOQueueV2": lambda s: number(raw.QueueSizeV2(handle=raw.FIFOQueueV2(component_types=[tf.float32]))),
    "Stage": lambda s: raw.Stage(values=[tf.constant(1.0)]),
    "CollectiveReduce": lambda s: raw.CollectiveReduce(
        input=tf.constant(1.0),
        group_size=2,
        group_key=1,
        instance_key=1,
        merge_op="Add",
        final_op="Id",
        subdiv_offsets=[0],
    ),
    "RpcServer": lambda s: number(raw.VarIsInitializedOp(resource=raw.VarHandleOp(dtype=tf.float32, shape=[]))),
}
#: Operations that only a test by name can hold: their libraries are loaded on demand, or need a cluster.
REMOTE = (
    "RemoteCall",
    "_Send",
    "_Recv",
    "_HostSend",
    "ConfigureDistributedTPU",
    "RegisterDatasetV2",
    "DataServiceDatasetV4",
)


def write(
    folder: Path, build: Callable[[], tuple[Any, Any]], change: Callable[[Any], None] = lambda meta: None
) -> Path:
    """Write a SavedModel by hand: TensorFlow's own writer would leave out what nothing reaches."""
    with tf.Graph().as_default() as graph:
        given, answer = build()
    model = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    meta = model.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    meta.graph_def.CopyFrom(graph.as_graph_def())
    signature = meta.signature_def["serving_default"]
    for tensor, described in ((given, signature.inputs["x"]), (answer, signature.outputs["y"])):
        described.name, described.dtype = tensor.name, tensor.dtype.as_datatype_enum
        described.tensor_shape.CopyFrom(tensor.shape.as_proto())
    signature.method_name = "tensorflow/serving/predict"
    change(meta)
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return folder


def network() -> tuple[Any, Any]:
    given = v1.placeholder(tf.float32, (None, 8, 8, 1), "x")
    return given, tf.nn.softmax(tf.reshape(given, (-1, 64))[:, :3])


def feeding(evil: Callable[[Surroundings], Any], around: Surroundings) -> Callable[[], tuple[Any, Any]]:
    """A network whose answer needs the value, where there is one, or waits for the operation."""

    def build() -> tuple[Any, Any]:
        given, answer = network()
        found = evil(around)
        if isinstance(found, tf.Tensor) and found.dtype == tf.float32:
            return given, tf.add(answer, found, "answer")
        operations = [found.op if isinstance(found, tf.Tensor) else found]
        with tf.control_dependencies(operations):
            return given, tf.identity(answer)

    return build


def assert_refused_or_left_out(folder: Path, around: Surroundings) -> None:
    out = folder / "graph.pb"
    refusal = ""
    try:
        freeze(str(folder), str(out))
    except ExportError as error:
        refusal = str(error)
    assert around.is_untouched()
    if refusal:
        assert "cannot be loaded: its operation" in refusal
        return
    # Only an order of execution led to it, which is not followed.
    kept = v1.GraphDef.FromString(out.read_bytes())
    names = {function.signature.name for function in kept.library.function}
    assert {node.op for node in kept.node} <= ALLOWED | names


@pytest.mark.parametrize("operation", HOSTILE)
def test_an_operation_with_an_effect_is_refused_or_never_runs(
    operation: str, around: Surroundings, tmp_path: Path
) -> None:
    folder = write(tmp_path / "saved", feeding(HOSTILE[operation], around))
    assert_refused_or_left_out(folder, around)


@pytest.mark.parametrize("operation", HOSTILE)
def test_an_operation_in_a_function_is_refused_or_never_runs(
    operation: str, around: Surroundings, tmp_path: Path
) -> None:
    def build() -> tuple[Any, Any]:
        given, answer = network()

        def inner(x: Any) -> Any:
            found = HOSTILE[operation](around)
            return x + found if isinstance(found, tf.Tensor) and found.dtype == tf.float32 else tf.identity(x)

        return given, tf.identity(tf.function(inner, autograph=False)(answer))

    folder = write(tmp_path / "saved", build)
    assert_refused_or_left_out(folder, around)


@pytest.mark.parametrize(
    "place", ["main_op", "legacy_init_op", "init_op", "asset", "library", "restore", "object graph"]
)
def test_what_a_loader_runs_by_itself_never_runs(place: str, around: Surroundings, tmp_path: Path) -> None:
    def build() -> tuple[Any, Any]:
        found = network()
        tf.io.write_file(str(around.folder / "x"), tf.io.read_file(str(around.secret)), "evil")
        return found

    def change(meta: Any) -> None:
        if place == "main_op":
            meta.collection_def["saved_model_main_op"].node_list.value.append("evil")
        elif place == "legacy_init_op":
            meta.collection_def["legacy_init_op"].node_list.value.append("evil")
        elif place == "init_op":
            meta.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "evil"
        elif place == "asset":
            asset = meta.asset_file_def.add(filename="../watched/secret")
            asset.tensor_info.name = "evil/filename:0"
        elif place == "library":
            function = meta.graph_def.library.function.add()
            function.signature.name = "__inference_never_called"
            function.node_def.extend(meta.graph_def.node)
        elif place == "restore":
            meta.saver_def.restore_op_name = "evil"
            meta.saver_def.filename_tensor_name = "evil/filename:0"
        else:
            nodes = meta.object_graph_def.nodes
            nodes.add().user_object.identifier = "_generic_user_object"
            nodes[0].children.add(node_id=1, local_name="resource")
            nodes.add().resource.device = ""
            nodes[1].children.add(node_id=2, local_name="_initialize")
            nodes.add().function.concrete_functions.append("evil")

    folder = write(tmp_path / "saved", build, change)
    found = freeze(str(folder), str(tmp_path / "graph.pb"))
    assert found["shape"] == (None, 8, 8, 1)
    assert around.is_untouched()


@pytest.mark.parametrize("operation", REMOTE)
def test_an_operation_of_another_machine_is_refused_by_its_name(operation: str, tmp_path: Path) -> None:
    def change(meta: Any) -> None:
        next(node for node in meta.graph_def.node if node.op == "Softmax").op = operation

    with pytest.raises(ExportError, match=rf"its operation {operation} .* does more than compute"):
        freeze(str(write(tmp_path / "saved", network, change)), str(tmp_path / "graph.pb"))


def test_allowed_operations_exist_and_have_no_state() -> None:
    known = {name: op_def_registry.get(name) for name in ALLOWED}
    assert [name for name, definition in known.items() if definition is None] == []
    stateful = {name for name, definition in known.items() if definition.is_stateful}
    assert stateful == {
        *("Case", "If", "While", "StatefulPartitionedCall"),
        *("VarHandleOp", "VariableV2", "Variable", "ReadVariableOp", "ResourceGather", "ResourceGatherNd"),
    }


def test_a_string_is_refused(tmp_path: Path) -> None:
    def build() -> tuple[Any, Any]:
        given, answer = network()
        return given, answer + number(tf.constant(["a", "b"]))

    with pytest.raises(ExportError, match="does not hold numbers"):
        freeze(str(write(tmp_path / "saved", build)), str(tmp_path / "graph.pb"))


def test_a_constant_that_unfolds_is_refused(tmp_path: Path) -> None:
    def change(meta: Any) -> None:
        node = next(node for node in meta.graph_def.node if node.op == "Const")
        node.attr["value"].tensor.tensor_shape.ClearField("dim")
        node.attr["value"].tensor.tensor_shape.dim.add(size=2**40)

    with pytest.raises(ExportError, match=r"constants of [0-9,]+ bytes, expected at most"):
        freeze(str(write(tmp_path / "saved", network, change)), str(tmp_path / "graph.pb"))


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    def build() -> tuple[Any, Any]:
        given, answer = network()
        return given, tf.identity(tf.function(lambda x: tf.exp(x), autograph=False)(answer))

    def change(meta: Any) -> None:
        (function,) = meta.graph_def.library.function
        node = next(node for node in function.node_def if node.op == "Exp")
        node.op = "PartitionedCall"
        node.attr["f"].func.name = function.signature.name

    with pytest.raises(ExportError, match="calls itself"):
        freeze(str(write(tmp_path / "saved", build, change)), str(tmp_path / "graph.pb"))


def test_what_takes_too_much_memory_ends_in_an_error(tmp_path: Path) -> None:
    def build() -> tuple[Any, Any]:
        given, answer = network()
        length = tf.cast(given[0, 0, 0, 0] * 0 + 2.0**30, tf.int32)
        return given, answer + tf.reduce_sum(tf.fill((length, 64), 1.0))

    with pytest.raises(ExportError, match="cannot be loaded"):
        load_classifier(write(tmp_path / "saved", build))


def test_a_link_in_place_of_the_variables_is_refused(tmp_path: Path) -> None:
    module = _Linear()
    tf.saved_model.save(module, tmp_path / "saved", signatures=module.__call__)
    data = tmp_path / "saved/variables/variables.data-00000-of-00001"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExportError, match="is not a regular file"):
        freeze(str(tmp_path / "saved"), str(tmp_path / "graph.pb"))


class _Linear(tf.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(np.eye(64, 3, dtype=np.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.float32)])  # type: ignore[untyped-decorator]
    def __call__(self, x: Any) -> Any:
        return tf.nn.softmax(tf.reshape(x, (-1, 64)) @ self.weights)


def _linear(folder: Path) -> None:
    module = _Linear()
    tf.saved_model.save(module, folder, signatures=module.__call__)


def _dropout_in_another_endpoint(folder: Path) -> None:
    given = keras.Input((8, 8, 1))
    inner = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(given)))
    model = keras.Model(given, layers.Dense(3, activation="softmax")(layers.Dropout(0.5)(layers.Flatten()(inner))))
    spec = [tf.TensorSpec((None, 8, 8, 1), tf.float32)]
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", lambda x: model(x, training=False), spec)
    archive.add_endpoint("train", lambda x: model(tf.image.random_flip_left_right(x), training=True), spec)
    archive.write_out(folder, verbose=False)


def _of_tensorflow_1(folder: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        given = v1.placeholder(tf.float32, (None, 8, 8, 1))
        weights = v1.get_variable("w", (64, 3), use_resource=False)
        bias = v1.get_variable("b", (3,), use_resource=True)
        answer = tf.nn.softmax(tf.matmul(tf.reshape(given, (-1, 64)), weights) + bias)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": given}, {"y": answer})


@pytest.mark.parametrize("save", [_linear, _dropout_in_another_endpoint, _of_tensorflow_1])
def test_a_sound_folder_answers_as_tensorflow_loads_it(save: Callable[[Path], None], tmp_path: Path) -> None:
    save(tmp_path / "saved")
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 1)).astype(np.float32)
    expected = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"](tf.constant(images))
    (wanted,) = expected.values()
    np.testing.assert_allclose(load_classifier(tmp_path / "saved")(images), wanted, atol=1e-6)


def test_a_folder_with_augmentation_at_work_names_the_cure(tmp_path: Path) -> None:
    given = keras.Input((8, 8, 1))
    model = keras.Model(given, layers.Dense(3, activation="softmax")(layers.Flatten()(layers.RandomFlip()(given))))
    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = [tf.TensorSpec((None, 8, 8, 1), tf.float32)]
    archive.add_endpoint("serve", lambda x: model(x, training=True), spec)
    archive.write_out(tmp_path / "saved", verbose=False)
    with pytest.raises(ExportError, match=r"is random: .*; give the \.keras file"):
        freeze(str(tmp_path / "saved"), str(tmp_path / "graph.pb"))


#: Freezes folders in turn, and marks by a call that strace shows where they begin.
_FREEZE_ALL = """
import os, sys
from exporter.errors import ExportError
from exporter.saved_model_freezing import freeze
freeze(sys.argv[1], sys.argv[2])  # a sound one: what TensorFlow itself opens when it first runs is opened
os.path.exists("/the folders begin")
for folder in sys.argv[3:]:
    try:
        freeze(folder, sys.argv[2])
    except ExportError:
        pass
os.path.exists("/the folders end")
"""
#: What is traced: files, connections, processes.
_TRACED = "%file,%network,execve,execveat,fork,vfork,ptrace,mount,kill"
_WRITES = re.compile(
    r"O_WRONLY|O_RDWR|O_CREAT|^(?!open|access|stat|newfstatat|statx|lstat|readlink|getcwd|faccessat)\w+\("
)


@pytest.mark.skipif(not can_trace(), reason="no strace, or it may not watch")
def test_the_system_calls_of_hostile_folders_open_and_write_nothing_else(around: Surroundings, tmp_path: Path) -> None:
    """The folders of the tests above, watched from outside: only their own files and the result are touched."""
    folders = [write(tmp_path / f"{number}", feeding(evil, around)) for number, evil in enumerate(HOSTILE.values())]
    sound, out, log = write(tmp_path / "sound", network), tmp_path / "graph.pb", tmp_path / "calls"
    subprocess.run(
        [
            *("strace", "-f", "-qq", "-s", "4096", "-e", f"trace={_TRACED}", "-o", str(log)),
            *(sys.executable, "-c", _FREEZE_ALL, *map(str, (sound, out, *folders))),
        ],
        check=True,
        capture_output=True,
    )
    assert around.is_untouched()
    calls = [line.split(maxsplit=1)[1] for line in log.read_text(errors="replace").splitlines()]
    begin, end = (
        [i for i, call in enumerate(calls) if f"/the folders {mark}" in call][-1] for mark in ("begin", "end")
    )
    calls = calls[begin + 1 : end]
    assert sum(FILE in call for call in calls) >= len(folders)  # it did watch
    assert [call for call in calls if str(around.folder) in call] == []
    own = (str(out), "/proc/self/task/")  # the result, and the names of threads
    assert [call for call in calls if _WRITES.search(call) and not any(place in call for place in own)] == []
