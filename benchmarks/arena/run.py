"""The arena from its command line to its results."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import platformdirs

from benchmarks.arena.asking import ask_everybody
from benchmarks.arena.build import build_population
from benchmarks.arena.calibration import recalibrated_bundles
from benchmarks.arena.config import ArenaError, read_config
from benchmarks.arena.data import load_data
from benchmarks.arena.fingerprints import craft_bundles
from benchmarks.arena.make import Workshop
from benchmarks.arena.results import write_arena
from benchmarks.arena.stealth import watch
from benchmarks.results_file import RESULTS
from generator.errors import GenerationError
from generator.training.device import prepare_device
from generator.training.ranks import together

_ARENA_ERROR = 2


def run() -> int:
    """Build, craft, ask, write; every step goes on from the cache."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks arena")
    parser.add_argument("--config", default="small", help="small, paper, or a TOML file")
    parser.add_argument("--data", type=Path, help="folder that the config's images are in")
    parser.add_argument("--models", type=Path, help="folder with pretrained models of others")
    parser.add_argument("--cache", type=Path, help="where models, bundles and answers are kept")
    parser.add_argument("--results", type=Path, help="where tables and pictures go")
    parser.add_argument("--workers", type=int, default=2, help="models made at once (2)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    options = parser.parse_args()
    started = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - started:7.0f} s  {text}", file=sys.stderr, flush=True)

    try:
        return _run(options, tell)
    except (ArenaError, GenerationError) as error:
        print(f"arena: {error}", file=sys.stderr)
        return _ARENA_ERROR


def _run(options: argparse.Namespace, tell: Callable[[str], None]) -> int:
    config = read_config(options.config)
    root = options.data or Path(__file__).parents[1] / "data"
    cache = options.cache or platformdirs.user_cache_path("kinprint") / "arena"
    device = prepare_device(options.device)
    with together(options.device) as ranks:
        population = build_population(
            config,
            root=root,
            models=options.models,
            cache=cache,
            workers=options.workers,
            device=device.type,
            tell=tell,
        )
    if not ranks.is_first:
        return 0  # the models are what takes long; one process does the rest
    data = load_data(config.data, root, cache, config.seed)
    workshop = Workshop(recipe=config.recipe, data=data, seed=config.seed, device=device)
    bundles = craft_bundles(config, population, workshop, cache=cache, tell=tell)
    if config.calibration is not None:
        bundles = recalibrated_bundles(config.calibration, population, bundles, data, tell=tell)
    rows = ask_everybody(config, population, bundles, root=root, workers=options.workers, tell=tell)
    seen = watch(population, bundles, workshop, tell=tell) if config.detectors else []
    folder = options.results or RESULTS / config.name
    print(write_arena(config, population, bundles, rows, seen, folder))
    tell(f"tables and pictures are in {folder}")
    return 0
