"""Complete the PDF's structure from the renderer, for screen readers (PDF/UA-1).

The renderer leaves out which cells a table's heads are of, takes what stands at the head and foot of each page for
content, and keeps elements for what is decoration.
"""

from __future__ import annotations

from typing import Any

import pydyf

_PRINTED = 4
"""The annotation flag that says that it is on paper as well (ISO 32000-1, 12.5.3)."""

_MAY_GO_EMPTY = ("/Span", "/NonStruct", "/Div", "/P")


def complete_tags(_document: Any, pdf: pydyf.PDF) -> None:
    """Change a PDF's structure in place, before it is written: a `finisher` of WeasyPrint."""
    elements = [it for it in pdf.objects if isinstance(it, pydyf.Dictionary) and it.get("Type") == "/StructElem"]
    for element in elements:
        if element["S"] == "/TH":
            element["A"]["Scope"] = "/Column" if _is_in_head(element, pdf) else "/Row"
    for annotation in pdf.objects:
        if isinstance(annotation, pydyf.Dictionary) and annotation.get("Subtype") == "/Link":
            annotation["F"] = _PRINTED
    root = _at(pdf.catalog["StructTreeRoot"], pdf)
    _without_empty(root, pdf)
    _set_apart(_at(root["ParentTree"], pdf)["Nums"], _reachable(root, pdf), pdf)


# ----------------------------------------------------------------------------------------------------------------------


def _number(reference: bytes) -> int:
    return int(reference.split()[0])


def _at(reference: bytes, pdf: pydyf.PDF) -> Any:
    return pdf.objects[_number(reference)]


def _is_in_head(cell: Any, pdf: pydyf.PDF) -> bool:
    part = _at(_at(cell["P"], pdf)["P"], pdf)
    return bool(part["S"] == "/THead")


def _kids(element: Any) -> list[bytes]:
    """Return an element's children; anything but a reference is page content."""
    return [kid for kid in element.get("K", ()) if isinstance(kid, bytes)]


def _without_empty(element: Any, pdf: pydyf.PDF) -> None:
    for kid in _kids(element):
        child = _at(kid, pdf)
        _without_empty(child, pdf)
        if child.get("S") in _MAY_GO_EMPTY and not child["K"]:
            element["K"].remove(kid)


def _reachable(element: Any, pdf: pydyf.PDF) -> set[int]:
    """The numbers of all elements in the tree."""
    numbers = {_number(kid) for kid in _kids(element)}
    return numbers.union(*(_reachable(_at(kid, pdf), pdf) for kid in _kids(element)))


def _set_apart(nums: Any, in_tree: set[int], pdf: pydyf.PDF) -> None:
    """Mark what is on a page but in no part of the tree as what comes with paging."""
    for page, content in enumerate(pdf.pages["Kids"][::3]):
        of_page = nums[nums.index(page) + 1]
        apart = {mcid for mcid, reference in enumerate(of_page) if _number(reference) not in in_tree}
        stream = _at(pdf.objects[content]["Contents"], pdf).stream
        for at, item in enumerate(stream):
            if isinstance(item, pydyf.Dictionary) and item.get("MCID") in apart:
                stream[at - 1 : at + 1] = "/Artifact", pydyf.Dictionary({"Type": "/Pagination"})
        for mcid in apart:
            of_page[mcid] = "null"
