"""detctl completion SHELL"""

from __future__ import annotations

import rich_click as click

from detctl_cli.exits import Exit

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", short_help="Print the script that completes detctl in your shell.")
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(SHELLS))
def command(shell: str) -> Exit:
    """Print the script that completes commands, options and ids of local audits in your shell.

    \b
    Examples:
      source <(detctl completion bash)
      detctl completion bash >> ~/.bashrc
      detctl completion zsh >> ~/.zshrc
      detctl completion fish > ~/.config/fish/completions/detctl.fish
    """
    from click.shell_completion import get_completion_class

    from detctl_cli.commands import detctl

    kind = get_completion_class(shell)
    assert kind is not None
    text = kind.source_template % kind(detctl, {}, "detctl", COMPLETE_VARIABLE).source_vars()
    click.echo(text.replace(_ZSH_DEFINES, _ZSH_STARTS + _ZSH_DEFINES))
    return Exit.IDENTICAL


COMPLETE_VARIABLE = "_DETCTL_COMPLETE"  # click reads it when it starts `detctl`
# A .zshrc without compinit knows no compdef.
_ZSH_DEFINES = "    compdef _detctl_completion detctl"
_ZSH_STARTS = "    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }\n"
