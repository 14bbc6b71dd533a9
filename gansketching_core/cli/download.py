import sys
from argparse import ArgumentParser
from pathlib import Path

from tqdm import tqdm

from ..downloads.catalogue import OFFERS
from ..downloads.fetch import size_of
from ..downloads.install import install
from .progress import interruptible


def download(parser: ArgumentParser, argv: list[str]) -> None:
    """List the models that others publish, or download one after showing its licence. It is converted to .safetensors;
    no code in the file is run. Ctrl-C keeps the part already downloaded; the same command resumes."""
    parser.add_argument("name", nargs="?", help="a name from the list; without one, the list is printed")
    parser.add_argument("--models", type=Path, default=Path("models"), metavar="FOLDER", help="folder to write to")
    parser.add_argument("--accept-licence", action="store_true", help="you have read the licence and agree to it")
    parser.add_argument("--keep", action="store_true", help="also keep the original file")
    args = parser.parse_args(argv)

    if args.name is None:
        width = max(map(len, OFFERS))
        for offer in OFFERS.values():
            print(f"{offer.name:<{width}}  {offer.about}\n{'':<{width}}  {offer.licence}")
        return
    if args.name not in OFFERS:
        raise ValueError(f'"{args.name}" is not in the list; use one of {", ".join(OFFERS)}')
    offer = OFFERS[args.name]
    size = size_of(offer.address)
    print(f"{offer.address}\n{f'{size / 1e6:.0f} MB' if size else 'size unknown'}. Licence: {offer.licence}")
    if not args.accept_licence and not _agrees():
        raise ValueError("nothing was downloaded: read the licence and add --accept-licence")
    with tqdm(desc=offer.name, unit="B", unit_scale=True, dynamic_ncols=True) as bar, interruptible() as poll:

        def on_bytes(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        written = install(offer, args.models, keep=args.keep, on_bytes=on_bytes, poll=poll)
    for path in written:
        print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


def _agrees() -> bool:
    return sys.stdin.isatty() and input("Do you agree to the licence? [y/N] ").strip().lower() in ("y", "yes")
