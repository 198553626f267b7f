"""The command line: the only argparse, print and exit code. torch is imported only once the arguments are right."""

import argparse
import errno
import json
import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from zdd.errors import ZddError
from zdd.verb import Verb
from zdd.verbs import OPTIONS, VERBS, ZDD

Args = argparse.Namespace
# What the machine says no to. Other errors of files are zdd's own mistakes and keep their traceback.
REFUSED = {
    getattr(errno, name)
    for name in ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EEXIST", "ENOTDIR", "EISDIR", "ENAMETOOLONG")
    if hasattr(errno, name)
}


class Parser(argparse.ArgumentParser):
    """argparse with its mistakes in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and stop with exit code 2."""
        self.exit(2, f"{self.prog}: {message}; see: {_typed(self.prog)} --help\n")


def main(verb: str | None = None, argv: Sequence[str] | None = None) -> int:
    """Run one command; the last line that it prints is one JSON object.

    Args:
        verb: What train.py and test.py are; otherwise the first argument says it.
        argv: The arguments, without the program's name.

    Returns:
        The exit code: 0; 1 if a run failed; 2 for a mistake of the user's; 130 after Ctrl-C.
    """
    args = Args(prog=f"{verb}.py" if verb else "zdd")
    try:
        _parse(verb, list(sys.argv[1:] if argv is None else argv), args)
        result = args.run(args)
        print(json.dumps(result, allow_nan=False), flush=True)
    except ZddError as error:
        for line in error.lines:
            print(f"{args.prog}: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{args.prog}: stopped{_resuming(args)}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a place where nothing may be written, a full disk, a file for a folder
        if error.errno not in REFUSED:
            raise
        print(f"{args.prog}: {error.filename or 'a file could not be written'}: {error.strerror}", file=sys.stderr)
        return 2
    except UnicodeEncodeError as error:  # Linux takes any bytes for a name, a table and JSON do not
        print(f"{args.prog}: {ascii(error.object)[:300]}: a name that is not UTF-8; rename it", file=sys.stderr)
        return 2
    except SystemExit as stop:  # argparse's, after --help or a wrong argument
        return stop.code if isinstance(stop.code, int) else 1
    return 1 if result.get("failed") else 0


def _parse(verb: str | None, argv: list[str], args: Args) -> None:
    args.settings = []
    parser = Parser(prog=args.prog)
    if not verb and argv[:1] and argv[0] in VERBS:
        args.prog = f"zdd {argv[0]}"  # before argparse sets it, for mistakes that it meets on its way
    if (verb or "".join(argv[:1])) == "train":
        argv, args.settings = _split(argv)
    _fill(parser, VERBS[verb] if verb else ZDD)
    _, unknown = parser.parse_known_args(argv, args)
    if unknown:  # argparse would say it of `zdd`, and not of the verb
        parser.prog = args.prog
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")


def _add(parser: Parser, verbs: dict[str, Verb]) -> None:
    below = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, verb in verbs.items():
        _fill(below.add_parser(name, help=verb.about), verb)


def _fill(parser: Parser, verb: Verb) -> None:
    parser.allow_abbrev = False
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = verb.about
    if verb.examples:
        lines = [f"  {_typed(parser.prog)} {line}".rstrip() for line in verb.examples]
        parser.epilog = "\n".join(["examples:", *lines, *(["", verb.note] if verb.note else [])])
    if verb.run:
        parser.set_defaults(run=verb.run, prog=parser.prog)
    if verb.usage:
        parser.usage = "\n       ".join(f"{_typed(parser.prog)} {line}" for line in verb.usage)
    for argument in verb.arguments:
        parser.add_argument(*argument.name.split(), **argument.options)
    if verb.below:
        _add(parser, verb.below)


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Part --optimizer.lr 0.001 and --optimizer.lr=0.001 (settings) from train's own options."""
    rest, settings = [], []
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if not word.startswith("--") or option in ("--", "--help", *OPTIONS):
            rest.append(word)
            continue
        _check_setting(option.removeprefix("--"))
        following = value if equals else next(words, None)
        if following is None or (not equals and following.startswith("--")):
            raise ZddError(f"{option}: wants a value, as in {option} 3 or {option}=3")
        settings.append(f"{option.removeprefix('--')}={following}")
    return rest, settings


def _check_setting(name: str) -> None:
    from zdd.plugins import nearest
    from zdd.settings import Config

    if name.split(".")[0] not in Config.model_fields and "." not in name:
        near = nearest(name, [*(option.removeprefix("--") for option in OPTIONS), *Config.model_fields])
        hint = f"did you mean '--{near}'?" if near else "see --help"
        raise ZddError(f"--{name}: there is no such option or setting; {hint}")


def _typed(prog: str) -> str:
    """How a command is typed: train.py is run by python."""
    return f"python {prog}" if prog.endswith(".py") else prog


def _resuming(args: Args) -> str:
    run = getattr(args, "resume", None) or getattr(args, "begun", lambda: None)()
    return f"; go on with: {_typed(args.prog)} --resume {shlex.quote(str(run))}" if run else ""


if __name__ == "__main__":
    sys.exit(main())
