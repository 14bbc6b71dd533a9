"""What the nodes of a workflow declare."""

from __future__ import annotations


def widgets_and_sockets(node: type) -> tuple[dict, dict]:
    """Inputs in the order of the declaration: name -> (type, options)."""
    widgets, sockets = {}, {}
    for section in ("required", "optional"):
        for name, (kind, *options) in node.INPUT_TYPES().get(section, {}).items():
            is_widget = isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN")
            (widgets if is_widget else sockets)[name] = (kind, options[0] if options else {})
    return widgets, sockets
