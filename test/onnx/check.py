"""Checks the graphs of paella_onnx_cases: ONNX's checker and shape inference on all, ONNX Runtime (for bf16
ONNX's reference evaluator) against the CPU executor.

    python check.py <folder>

Prints a line for each graph with the largest relative error (norm of the difference over norm) of its cases, and closes with
'N passed, N failed'.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "reference"))
from philox import gumbel  # noqa: E402

TYPES = {"f32": np.float32, "f16": np.float16, "i32": np.int32, "i64": np.int64, "u8": np.uint8}
ELEMENT = {
    "f32": onnx.TensorProto.FLOAT,
    "f16": onnx.TensorProto.FLOAT16,
    "bf16": onnx.TensorProto.BFLOAT16,
}
# What TensorRT's parser takes without conditionals or loops; docs/onnx.md lists the same.
OPERATORS = set(
    """Add ArgMin Cast Clip Concat Conv DepthToSpace Div Gather Gelu Identity IsNaN LayerNormalization Less MatMul Mod Mul Pad
    Range ReduceL2 ReduceMean Reshape Round Shape Sigmoid Slice Softmax SpaceToDepth Split Sqrt Squeeze Sub Tile Transpose
    Unsqueeze Where""".split()
)


def load(folder: Path, item: dict) -> np.ndarray:
    return np.fromfile(folder / item["file"], TYPES[item["type"]]).reshape(item["shape"])


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    if not np.isfinite(found).all():
        return float("inf")
    return float(np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30))


def check_graph(folder: Path, graph: dict) -> list[str]:
    """What is wrong with the file itself."""
    wrong = []
    file = folder / graph["file"]
    onnx.checker.check_model(str(file), full_check=True)  # full: with strict shape inference
    model = onnx.load(str(file), load_external_data=False)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    unknown = {node.op_type for node in model.graph.node} - OPERATORS
    if unknown:
        wrong.append(f"operators {sorted(unknown)} are not on the list")
    if model.opset_import[0].version != graph["opset"]:
        wrong.append(f"opset {model.opset_import[0].version}, expected {graph['opset']}")
    types = {info.name: info.type.tensor_type.elem_type for info in inferred.graph.value_info}
    untyped = [name for node in model.graph.node for name in node.output if name not in types]
    outputs = {output.name for output in model.graph.output}
    if set(untyped) - outputs:
        wrong.append(f"no type is known of {sorted(set(untyped) - outputs)[:3]}")
    # Products that take operands take them in the precision that was asked for.
    wanted = ELEMENT[graph["precision"]]
    types |= {each.name: each.data_type for each in model.graph.initializer}
    types |= {each.name: each.type.tensor_type.elem_type for each in model.graph.input}
    seen = {types[node.input[0]] for node in model.graph.node if node.op_type == "MatMul"}
    if seen - {wanted, onnx.TensorProto.FLOAT}:
        wrong.append(f"products of types {seen}")
    names = [each.name for each in model.graph.initializer]
    if len(set(names)) != len(names):
        wrong.append("an initializer is there twice")
    return wrong


def draw(logits: np.ndarray, temperature: float, step: int) -> np.ndarray:
    """docs/randomness.md: the lowest code that maximises logit/temperature + Gumbel; seeds 1, 2, …"""
    rows, height, width, codes = logits.shape
    tokens = np.empty((rows, height, width), np.int32)
    for row in range(rows):
        noise = gumbel(row + 1, height * width, codes, step).reshape(height, width, codes)
        tokens[row] = np.argmax(logits[row] / np.float32(temperature) + noise, axis=-1)
    return tokens


class Runners:
    """One for each graph, made when it is first run."""

    def __init__(self, folder: Path, graphs: list[dict]):
        self.folder = folder
        self.by = {graph["file"].removesuffix(".onnx"): graph["by"] for graph in graphs}
        self.made: dict[str, tuple[dict[str, np.dtype], object]] = {}

    def make(self, graph: str):
        file = str(self.folder / f"{graph}.onnx")
        if self.by[graph] == "reference":
            model = onnx.load(file)
            declared, runner = model.graph.input, ReferenceEvaluator(model)
        else:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 2
            options.log_severity_level = 3
            declared = onnx.load(file, load_external_data=False).graph.input
            runner = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        types = {each.name: onnx.helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type) for each in declared}
        return types, runner

    def run(self, graph: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        if graph not in self.made:
            self.made[graph] = self.make(graph)
        types, runner = self.made[graph]
        # What the CPU executor takes in f32, a graph of another precision takes in that.
        return runner.run(None, {name: value.astype(types[name], copy=False) for name, value in inputs.items()})


def check_case(runners: Runners, folder: Path, case: dict) -> tuple[float, list[str]]:
    inputs = {item["name"]: load(folder, item) for item in case["inputs"]}
    found = runners.run(case["graph"], inputs)
    wrong, worst = [], 0.0
    for item, value in zip(case["outputs"], found, strict=True):
        expected = load(folder, item)
        if value.dtype in (np.float16, ml_dtypes.bfloat16):
            value = value.astype(np.float32)
        if value.dtype != expected.dtype or value.shape != expected.shape:
            wrong.append(f"{item['name']}: expected {expected.dtype} {expected.shape}, got {value.dtype} {value.shape}")
        elif case["exact"]:
            if not np.array_equal(value, expected):
                wrong.append(f"{item['name']}: {np.sum(value != expected)} of {expected.size} differ")
        else:
            error = relative_error(value, expected)
            worst = max(worst, error)
            if not error <= case["bound"]:
                wrong.append(f"{item['name']}: expected a relative error of at most {case['bound']:g}, got {error:.3g}")
    if "draw" in case and not wrong:
        how = case["draw"]
        logits = runners.run(how["head"], {"features": found[0]})[0]
        expected = load(folder, how["tokens"])
        tokens = draw(logits, how["temperature"], how["step"])
        if not np.array_equal(tokens, expected):
            wrong.append(f"{np.sum(tokens != expected)} of {expected.size} drawn tokens differ")
    return worst, wrong


def main() -> int:
    folder = Path(sys.argv[1])
    content = json.loads((folder / "cases.json").read_text())
    runners = Runners(folder, content["graphs"])
    passed = failed = 0
    for graph in content["graphs"]:
        name = graph["file"].removesuffix(".onnx")
        cases = [case for case in content["cases"] if case["graph"] == name]
        try:
            wrong = check_graph(folder, graph)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as failure:
            wrong = [f"{type(failure).__name__}: {failure}"]
        passed, failed = passed + (not wrong), failed + bool(wrong)
        worst = 0.0
        for case in cases:
            try:
                error, problems = check_case(runners, folder, case)
            except Exception as failure:  # what a runner refuses is this case's failure, not the end of all
                error, problems = float("inf"), [f"{type(failure).__name__}: {failure}"]
            worst = max(worst, error)
            passed, failed = passed + (not problems), failed + bool(problems)
            wrong += [f"{case['name']}: {problem}" for problem in problems]
        drawn = sum("draw" in case for case in cases)
        if not cases:
            wrong.append("no case runs it")
            failed += 1
        what = f"{len(cases)} cases, error {worst:.1e}"
        print(f"{'✗' if wrong else '✓'} {name}: {what}{f', {drawn} draws equal' if drawn and not wrong else ''}")
        for line in wrong:
            print(f"    {line}")
    unused = {case["graph"] for case in content["cases"]} - {g["file"].removesuffix(".onnx") for g in content["graphs"]}
    if unused:
        print(f"✗ cases without a graph: {sorted(unused)}")
        failed += 1
    print(f"\n{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
