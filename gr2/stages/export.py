"""gr2 export: a writer of lists -> one program for a server, which then needs neither gr2 nor PyTorch.

The folder holds an ONNX program, the items that it knows, a small Python module that asks it, and a README.md.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from gr2.data.catalogue import Catalogue, read_catalogue
from gr2.errors import InputError
from gr2.files.artifacts import CARD, write_json, write_text, write_whole
from gr2.options.declare import arg
from gr2.rerankers.record import check_ids, kind_of, version_of
from gr2.stages.shared import ItemOptions, SemanticIdOptions

WRITES = ("program.onnx", "program.json", "items.json", "list_writer.py")
KINDS = ("glorank", "degre", "goalrank")
REQUESTS = 200  # drawn at random, to compare the program with the network


@dataclass(kw_only=True)
class Config(ItemOptions, SemanticIdOptions):
    reranker: str = arg(help="a folder of `gr2 fit glorank`, `degre` or `goalrank`", path=True)
    output_dir: str = arg(help="folder for the program and what is needed to ask it")


def run(config: Config) -> None:
    """Reads the reranker and the items; writes the program; prints how many of its lists are the network's."""
    check_packages()
    import onnxruntime

    from gr2.rerankers.list_writer import standalone
    from gr2.rerankers.list_writer.batch import read_codes
    from gr2.rerankers.list_writer.network import ListWriter
    from gr2.rerankers.list_writer.program import OPSET, Program, count_same, describe, export

    # read
    catalogue = read_catalogue(config.items, config.semantic_ids)
    kind = check_writer(config.reranker, catalogue)
    model = ListWriter.from_pretrained(config.reranker).eval()
    if model.config.space == "place":
        raise InputError(f"--reranker {config.reranker}: expected --space global or pointer, found place")

    # program
    output = Path(config.output_dir)
    program = Program(model, read_codes([catalogue.item_ids.to_list()], catalogue)[0])
    with write_whole(output / "program.onnx") as file:
        export(program, file)
        same = count_same(program, file, REQUESTS)
        if same < 0.95 * REQUESTS:  # not rounding
            raise InputError(f"{config.reranker}: expected the network's lists, found {same} of {REQUESTS}")

    # write
    about = {
        "kind": kind,
        "version": version_of(config.reranker),
        "list_size": model.config.list_size,
        "history": model.config.history,
        "items": len(catalogue.item_ids),
        "opset": OPSET,
        "onnxruntime": onnxruntime.__version__,
        "compared": REQUESTS,
        "same": same,
    }
    write_json(output / "items.json", catalogue.item_ids.to_list())
    write_json(output / "program.json", about)
    with write_whole(output / "list_writer.py") as file:
        shutil.copyfile(standalone.__file__, file)
    write_text(output / CARD, describe(about, catalogue.item_ids.to_list()))
    print(f"the network's list on {same} of {REQUESTS} random requests", flush=True)


def check_packages() -> None:
    """InputError where a package is missing."""
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError(f"export: expected the package {error.name}; pip install 'gr2[export]'") from None


def check_writer(folder: str, catalogue: Catalogue) -> str:
    """The kind of the reranker in the folder; InputError unless it writes lists of these items."""
    kind = kind_of(folder)
    if kind not in KINDS:
        expected = f"expected a folder of `gr2 fit {KINDS[0]}`, `{KINDS[1]}` or `{KINDS[2]}`"
        raise InputError(f"--reranker {folder}: {expected}; found {kind}")
    check_ids(folder, catalogue)
    return kind
