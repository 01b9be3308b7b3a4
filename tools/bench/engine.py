"""``evalkit bench engine``: throughput of the engine against baselines and the roofline of the machine.

* ``naive``: what a short script does: transformers' processor and ``generate``, one question at a time;
* ``lmms-eval``: its own chat model, in a process of its own; with ``--engine vllm`` its model on vLLM, too;
* ``vLLM``: the same requests by ``run --engine vllm``; what it takes to start is not counted;
* ``batch of one``: the engine, one question at a time, without its optimizations;
* ``engine``, and the engine without each of its optimizations;
* with ``--lockstep``: the engine with variants of the model beside it, all of which answer every question.

All answer the same questions in one run. Their texts are compared with those of the batch of one: in float32,
all of the engine's must be equal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from evalkit.config.run_spec import rope_files
from evalkit.core.console import write
from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.core.provenance import hardware, usable_cores, versions
from evalkit.core.types import Prepared, Request, Response
from evalkit.engine.config import EngineConfig
from evalkit.engine.optimizations import Optimizations
from evalkit.engine.planner import plan_requests
from evalkit.engine.preprocessing_pool import prepare_all
from evalkit.engine.scheduler import generate_groups, run_requests
from evalkit.engine.worker_pool import start_fork_server
from evalkit.inference.compile import compile_parts
from evalkit.inference.counters import EngineCounters
from evalkit.integrations.vllm.system import describe as describe_vllm
from evalkit.models import describe_model
from evalkit.models.base import LoadConfig, Model, ModelInfo
from evalkit.models.hf_model import HfModel
from tools.bench.baselines import lmms_eval, lmms_eval_differs, naive
from tools.bench.machine import GIB, Usage, bandwidth, busy_share, measured, peak_flops
from tools.bench.roofline import UsefulWork, useful_work
from tools.bench.workloads import BenchPrompt, bench_prompts, random_model, to_requests


@dataclass(frozen=True)
class EngineBench:
    """What is measured: names as ``evalkit run`` takes them.

    Attributes:
        model: or ``random:KIND``, one with random weights.
        ropes_dirs: folders with RoPE variants of one's own.
        workload: generated questions instead of those of tasks.
        limit: samples of each task, or media of a workload; None means 60, or as many as it has.
        baseline_limit: questions for the slow baselines (naive, lmms-eval, batch of one), spread evenly over
            all; None means all.
        workers: preprocessing processes of the engine; None means none on a CPU, else one per free core.
        optimizations: names of those without each of which the engine is measured too; None means all.
        deterministic: whether to measure the engine with `--deterministic` too.
        compiled: whether to measure the engine with a compiled model too.
        lockstep: variants beside the model's own, with which the engine is measured too.
        lmms_python: interpreter of an environment with lmms-eval.
        engine: ``vllm`` to measure that as well.
        vllm_python: interpreter of an environment with vLLM; None means this one.
        engine_args: vLLM's engine arguments.
        folder: where generated checkpoints and media are kept; None means for this run only.
    """

    model: str = "tiny"
    rope: str = "auto"
    ropes_dirs: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("mini_chartqa", "mini_docvqa", "mini_refcoco")
    workload: str | None = None
    limit: int | None = None
    baseline_limit: int | None = None
    dtype: str = "float32"
    device: str = "auto"
    data_root: str | None = None
    workers: int | None = None
    optimizations: tuple[str, ...] | None = None
    deterministic: bool = False
    compiled: bool = False
    lockstep: tuple[str, ...] = ()
    lmms_python: str | None = None
    engine: str = "evalkit"
    vllm_python: str | None = None
    engine_args: tuple[tuple[str, Any], ...] = ()
    folder: str | None = None


@dataclass
class SystemResult:
    """Time and memory of one system, its answers by key, and what it does otherwise than it is asked."""

    name: str
    usage: Usage
    texts: dict[str, str]
    responses: list[Response] = field(default_factory=list)
    stats: EngineCounters = field(default_factory=EngineCounters)
    differs: str = ""


def bench_engine(options: EngineBench) -> int:
    """Measure and print; exit code 1 if float32 texts of the engine depend on how it works."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bench = _Bench.prepared(options, folder)
        return bench.run()


@dataclass
class _Bench:
    options: EngineBench
    model: HfModel
    variants: list[ModelInfo]
    questions: list[BenchPrompt]
    requests: list[Request]
    workers: int

    @classmethod
    def prepared(cls, options: EngineBench, folder: Path) -> _Bench:
        name = random_model(options.model, folder)
        where = LoadConfig(
            dtype=options.dtype, device=options.device, rope_files=rope_files(options.ropes_dirs)
        )
        own, *variants = [describe_model(name, rope, where) for rope in (options.rope, *options.lockstep)]
        model = own.load()
        if not isinstance(model, HfModel):
            raise UsageError(f"model `{name}`", "there is nothing to measure in a mock", "give a checkpoint")
        questions = bench_prompts(options.tasks, options.limit, options.workload, options.data_root, folder)
        start_fork_server()
        on_gpu = model.info.device.type == "cuda"
        workers = max(1, min(usable_cores() - 1, 14)) if on_gpu else 0
        if options.workers is not None:
            workers = options.workers
        return cls(options, model, variants, questions, to_requests(model.info, questions), workers)

    def run(self) -> int:
        write(f"{versions()}\n{hardware()}\n{torch.get_num_threads()} threads\n")
        what = self.options.workload or ",".join(self.options.tasks)
        baselines = len(self.baseline_requests)
        write(f"{self.options.model}@{self.model.info.variant}, {self.options.dtype}, ")
        write(f"{len(self.requests)} samples of {what}, {baselines} of them for the baselines\n\n")
        self.engine("warm-up", requests=self.baseline_requests)
        one = self.engine(
            "batch of one", Optimizations.without("all"), self.baseline_requests, batch_size=1, workers=0
        )
        engine = self.engine("engine")
        rows = [SystemResult("naive", *naive(self.model, self.baseline_requests)), *self.lmms(), one, engine]
        rows += self.vllm() if self.options.engine == "vllm" else ()
        rows += self.ablations()
        if self.options.deterministic:
            rows.append(self.engine("engine, deterministic", deterministic=True))
        report = self.summary(engine)
        if self.variants:
            rows.append(self.lockstep())
            report += f"\n{rows[-1].name}: {_rate(rows[-1]) / _rate(engine):.2f} x the samples/s of one\n"
        if self.options.compiled:
            seconds = compile_parts(self.model.module, self.model.info.adapter.compile_tower)
            report += f"\ncompiling took {seconds:.1f} s\n"
            self.engine("warm-up", requests=self.baseline_requests)
            rows.append(self.engine("engine, compiled"))
            report += self.summary(rows[-1])
        write(_table(rows, one))
        write(report)
        failed = [each.error for row in rows for each in row.responses if each.error is not None]
        write(f"{len(failed)} samples failed, the first because: {failed[0]}\n" if failed else "")
        own = [row for row in rows if row.name.startswith("engine")]
        return int(self.options.dtype == "float32" and any(_count_differing(row, one) for row in own))

    @property
    def baseline_requests(self) -> list[Request]:
        """The requests for the baselines."""
        step = max(1, len(self.requests) // (self.options.baseline_limit or len(self.requests)))
        return self.requests[::step][: self.options.baseline_limit]

    def ablations(self) -> Iterator[SystemResult]:
        """The engine without each optimization; if these are all, also with another number of workers."""
        unused = {"lockstep"} | ({"graphs"} if self.model.info.device.type == "cpu" else set())
        names = self.options.optimizations
        for name in Optimizations.names() if names is None else names:
            if name not in unused:
                yield self.engine(f"engine without {name}", Optimizations.without(name))
        if names is None:
            other = 0 if self.workers else 1
            yield self.engine(f"engine, {other} workers", workers=other)

    def engine(
        self,
        name: str,
        optimizations: Optimizations | None = None,
        requests: Sequence[Request] | None = None,
        *,
        workers: int | None = None,
        batch_size: int | None = None,
        deterministic: bool = False,
    ) -> SystemResult:
        responses: list[Response] = []
        stats = EngineCounters()
        self.model.vision_encoder.release()  # features of earlier rows
        with measured(self.model.info.device) as usage:
            run_requests(
                self.model,
                self.requests if requests is None else requests,
                on_batch=responses.extend,
                workers=self.workers if workers is None else workers,
                batch_size=batch_size,
                optimizations=optimizations,
                deterministic=deterministic,
                stats=stats,
            )
        return SystemResult(name, usage, {each.key: each.text for each in responses}, responses, stats)

    def lockstep(self) -> SystemResult:
        """The row of several variants, as ``run --rope A,B`` has them; the model's own answers have the keys
        of other rows.

        Raises:
            EnvironmentProblem: they don't fit into memory together.
        """
        first = replace(self.model)  # with a vision encoder of its own: in other rows it is shared with none
        models: list[Model] = [first]
        for variant in self.variants:
            if not first.fits_beside(variant):
                raise EnvironmentProblem(
                    f"{1 + len(self.variants)} models side by side",
                    f"there is no memory to load {variant.variant} beside the others",
                    "give fewer to `--lockstep`",
                )
            model = variant.load()
            model.share_weights_with(first)
            models.append(model)
        config, stats = EngineConfig(workers=self.workers), EngineCounters()
        responses: list[Response] = []
        texts: dict[str, str] = {}
        self.model.vision_encoder.release()
        with measured(self.model.info.device) as usage:
            asked = [self.requests] * len(models)
            groups = plan_requests(first.info.preprocessor, asked, config)
            for number, batch in generate_groups(models, groups, config, stats):
                responses += batch
                texts |= {f"{number}/{each.key}" if number else each.key: each.text for each in batch}
        return SystemResult(f"engine, {len(models)} in lockstep", usage, texts, responses, stats)

    def vllm(self) -> Iterator[SystemResult]:
        """The row of vLLM, answered by its process; the processor time is that process's and this one's."""
        where = LoadConfig(
            dtype=self.options.dtype,
            engine="vllm",
            vllm_python=self.options.vllm_python,
            engine_args=self.options.engine_args,
        )
        model = describe_vllm(str(self.model.info.folder), str(self.model.info.variant), where).load()
        try:
            vllm = psutil.Process(model.link.process.process.pid)
            for requests in (self.baseline_requests, self.requests):  # the first to warm up
                responses: list[Response] = []
                model.forget()
                before = _cpu(vllm)
                with measured(self.model.info.device) as usage:
                    run_requests(model, requests, on_batch=responses.extend, workers=self.workers)
                usage.cpu += _cpu(vllm) - before
            texts = {each.key: each.text for each in responses}
            yield SystemResult("vLLM", usage, texts, responses)
        finally:
            model.close()

    def lmms(self) -> Iterator[SystemResult]:
        """lmms-eval's rows, or why there are none."""
        python = self.options.lmms_python
        if python is None:
            write("lmms-eval: not measured; `make lmms`, then `--lmms-python PATH`\n\n")
            return
        asked = [self.questions[int(request.key)] for request in self.baseline_requests]
        keys = [each.key for each in self.baseline_requests]
        for name in ("lmms-eval", *(["lmms-eval, vLLM"] if self.options.engine == "vllm" else [])):
            on_vllm = name != "lmms-eval"
            arguments = dict(self.options.engine_args)
            try:
                usage, texts = lmms_eval(
                    python, self.model, asked, self.options.dtype, on_vllm=on_vllm, engine_args=arguments
                )
            except EnvironmentProblem as problem:
                write(f"{name}: {problem.what}: {problem.why}\n\n")
                continue
            differs = lmms_eval_differs(self.model, asked, on_vllm=on_vllm)
            yield SystemResult(name, usage, dict(zip(keys, texts, strict=True)), differs=differs)

    def summary(self, engine: SystemResult) -> str:
        """Throughput, processor time by stage, and the distance from the roofline."""
        stats = engine.stats
        seconds, count, counts = engine.usage.seconds, len(self.requests), stats.counts
        device = self.model.info.device
        peak, speed = peak_flops(device, self.model.info.dtype), bandwidth(device)
        lengths = {
            each.key: len(each.token_ids) + (each.finish_reason == "stop") for each in engine.responses
        }
        work = useful_work(self.model.module, self.model.info.adapter, self.groups(), lengths)
        busy = busy_share(device, lambda: self.engine("profiled"))
        rates = ", ".join(
            f"{counts[name] / seconds:,.0f} {words} tokens/s"
            for name, words in (("visual", "visual"), ("prefill", "prefill"), ("decoded", "decode"))
        )
        stages = ", ".join(f"{name} {1e3 * cpu / count:.2f}" for name, cpu in stats.cpu.items())
        memory = f"memory: {engine.usage.memory / GIB:.2f} GiB of the largest process"
        gpu = f", {engine.usage.gpu_memory / GIB:.2f} GiB of the GPU" if device.type == "cuda" else ""
        return (
            f"\n{engine.name}: {rates}\n"
            f"{counts['media']} media shown to the vision tower; {counts['prefill']} tokens read "
            f"instead of {counts['prompt']}; {counts['decoded']} generated in {counts['steps']} steps\n"
            f"CPU time per sample, ms: {1e3 * engine.usage.cpu / count:.2f} in all; {stages}; of this, or in "
            f"worker processes, preprocessing {1e3 * stats.seconds['prepare'] / count:.2f}\n"
            f"GPU busy: {'no GPU' if busy is None else f'{100 * busy:.1f} %'}\n"
            f"{memory}{gpu}\n" + _roofline_lines(work, seconds, peak, speed)
        )

    def groups(self) -> Iterator[list[Prepared]]:
        """All requests, preprocessed, grouped by their media."""
        plan = plan_requests(self.model.info.preprocessor, [self.requests], EngineConfig())
        for prepared in prepare_all(self.model.info.preprocessor, plan, self.workers):
            if items := [item for item in prepared.results if isinstance(item, Prepared)]:
                yield items


def _cpu(process: psutil.Process) -> float:
    """Processor seconds of a process and of those that it started."""
    found = [process, *process.children(recursive=True)]
    return sum(sum(each.cpu_times()[:2]) for each in found)


def _roofline_lines(work: UsefulWork, seconds: float, peak: float, speed: float) -> str:
    limit = work.seconds(peak, speed)
    share = 100 * limit / seconds
    return (
        f"useful work, GFLOP: vision {work.vision / 1e9:,.1f}, prefill {work.prefill / 1e9:,.1f}, "
        f"decode {work.decode / 1e9:,.1f}\n"
        f"machine: {peak / 1e12:.3f} TFLOP/s in a large matrix product, {speed / 1e9:.1f} GB/s read\n"
        f"model-FLOPs utilisation {100 * work.flops / peak / seconds:.1f} %\n"
        f"limit {limit:.3f} s: {share:.1f} % of the limit, {share / 0.6:.1f} % of the practical one (60 % of "
        "the matrix product's speed)\n"
    )


def _table(rows: list[SystemResult], one: SystemResult) -> str:
    base = next((row for row in rows if row.name == "naive"), one)
    lmms = next((row for row in rows if row.name == "lmms-eval"), None)
    lines = []
    for row in rows:
        count = len(row.texts)
        ratios = f"{_rate(row) / _rate(base):7.2f} x naive"
        if lmms is not None:
            ratios += f"  {_rate(row) / _rate(lmms):7.2f} x lmms-eval"
        lines.append(
            f"{row.name:26} {_rate(row):9.2f} samples/s {ratios}  {1e3 * row.usage.cpu / count:8.1f} ms CPU "
            f"a sample  {_count_differing(row, one)} of {len(one.texts)} texts differ\n"
        )
    lines += [f"{row.name}: {row.differs}\n" for row in rows if row.differs]
    return "".join(lines)


def _rate(row: SystemResult) -> float:
    return len(row.texts) / row.usage.seconds


def _count_differing(row: SystemResult, one: SystemResult) -> int:
    """How many of the batch of one's answers a system gave otherwise."""
    return sum(row.texts[key] != text for key, text in one.texts.items())
