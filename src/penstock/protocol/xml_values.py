"""Members to XML elements and back, by shape; for the query protocol's answers and for rest-xml.

Source: https://smithy.io/2.0/spec/protocol-traits.html#xml-bindings
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from xml.etree import ElementTree

from penstock.model.shapes import Shape
from penstock.protocol import timestamps

XSI = "http://www.w3.org/2001/XMLSchema-instance"
Element = ElementTree.Element
_ESCAPED = re.compile('[&<>"\\x00-\\x1f\\x7f-\\x9f\ud800-\udfff\ufffe\uffff]')
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "\t", "\n": "\n"}


Named = tuple[tuple[str, Shape], ...]


class MalformedXml(ValueError):
    """Not XML, or not what the shape allows."""


def escape(text: str) -> str:
    """For element content and attribute values. A control character becomes a reference, as S3 writes it."""
    return _ESCAPED.sub(lambda match: _ENTITIES.get(match[0]) or f"&#x{ord(match[0]):x};", text)


def parse_document(body: bytes) -> Element:
    """The root element. A document type, and with it entities, is refused."""
    if b"<!DOCTYPE" in body or b"\0" in body:
        raise MalformedXml("document types are not allowed")
    try:
        return ElementTree.fromstring(body)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise MalformedXml(str(error)) from error


def local_name(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def parse(shape: Shape, element: Element) -> Any:
    """An element as the value of a shape. Raises MalformedXml."""
    if shape.type == "structure":
        return _parse_structure(shape, element)
    if shape.type == "list":
        name = shape.element.wire_name or "member"
        return [parse(shape.element, child) for child in element if local_name(child) == name]
    if shape.type == "map":
        return dict(_parse_entry(shape, child) for child in element)
    return parse_scalar(shape, element.text or "")


def _parse_structure(shape: Shape, element: Element) -> dict[str, Any]:
    children: dict[str, list[Element]] = {}
    for child in element:
        children.setdefault(local_name(child), []).append(child)
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        if member.location is not None:
            continue
        if member.traits.get("xmlAttribute"):
            value = _attribute(element, member.wire_name or name)
            if value is not None:
                found[name] = parse_scalar(member, value)
        elif member.is_flattened and member.type in ("list", "map"):
            nodes = children.get(flattened_name(member, name))
            if nodes and member.type == "list":
                found[name] = [parse(member.element, node) for node in nodes]
            elif nodes:
                found[name] = dict(_parse_entry(member, node) for node in nodes)
        elif nodes := children.get(member.wire_name or name):
            found[name] = parse(member, nodes[0])
    for name in shape.required:
        if name not in found and not shape.members[name].is_flattened and shape.members[name].location is None:
            raise MalformedXml(f"{shape.name} needs {name}")
    return found


def flattened_name(member: Shape, name: str) -> str:
    """What each element of a flattened list or map is called."""
    if member.type == "list" and member.element.wire_name:
        return member.element.wire_name
    return member.wire_name or name


def _attribute(element: Element, name: str) -> str | None:
    prefix, _, local = name.rpartition(":")
    return element.get(f"{{{XSI}}}{local}") if prefix == "xsi" else element.get(name)


def _parse_entry(shape: Shape, entry: Element) -> tuple[str, Any]:
    key_name, value_name = shape.key.wire_name or "key", shape.value.wire_name or "value"
    parts = {local_name(child): child for child in entry}
    if key_name not in parts or value_name not in parts:
        raise MalformedXml("a map's entry needs a key and a value")
    return parts[key_name].text or "", parse(shape.value, parts[value_name])


def parse_scalar(shape: Shape, text: str) -> Any:
    """Text of an element, a header or a query. Raises MalformedXml."""
    try:
        return _SCALARS[shape.type](shape, text)
    except (ValueError, TypeError, binascii.Error, OverflowError) as error:
        raise MalformedXml(f"{text[:100]!r} is not a {shape.type}") from error


def _boolean(text: str) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False}
    if text.strip().lower() not in known:
        raise ValueError(text)
    return known[text.strip().lower()]


_SCALARS: Mapping[str, Callable[[Shape, str], Any]] = {
    "string": lambda shape, text: text,
    "character": lambda shape, text: text,
    "blob": lambda shape, text: base64.b64decode(text),
    "integer": lambda shape, text: int(text),
    "long": lambda shape, text: int(text),
    "float": lambda shape, text: float(text),
    "double": lambda shape, text: float(text),
    "boolean": lambda shape, text: _boolean(text),
    "timestamp": lambda shape, text: timestamps.parse(text, shape.timestamp_format or timestamps.ISO8601),
}


def render_scalar(shape: Shape, value: Any, *, time_format: str = timestamps.ISO8601) -> str:
    """A value as text, not escaped."""
    if shape.type == "boolean":
        return "true" if value else "false"
    if shape.type == "timestamp":
        return str(timestamps.render(value, shape.timestamp_format or time_format))
    if shape.type == "blob":
        return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
    return str(value)


def render(shape: Shape, name: str, value: Any, out: list[str]) -> None:
    """Append one element called `name`."""
    if shape.type == "structure":
        out.append(f"<{name}{_namespace(shape)}{_attributes(shape, value)}>")
        render_members(shape, value, out)
        out.append(f"</{name}>")
    elif shape.type == "list":
        out.append(f"<{name}>")
        for item in value:
            render(shape.element, shape.element.wire_name or "member", item, out)
        out.append(f"</{name}>")
    elif shape.type == "map":
        out.append(f"<{name}>")
        for key, item in value.items():
            _render_entry(shape, "entry", key, item, out)
        out.append(f"</{name}>")
    else:
        text = render_scalar(shape, value)
        out.append(f"<{name}>{escape(text)}</{name}>" if text else f"<{name}/>")


def render_members(shape: Shape, value: Mapping[str, Any], out: list[str]) -> None:
    """Append a structure's members, those that travel in the body."""
    for name, tag, text_of, member in _plan(shape):
        item = value.get(name)
        if item is None:
            continue
        if text_of is not None:
            text = text_of(item)
            out.append(f"<{tag}>{text}</{tag}>" if text else f"<{tag}/>")
        elif member.is_flattened and member.type == "list":
            _render_flattened(member, name, item, out)
        elif member.is_flattened and member.type == "map":
            for key, element in item.items():
                _render_entry(member, flattened_name(member, name), key, element, out)
        else:
            render(member, tag, item, out)


def _render_flattened(member: Shape, name: str, items: Any, out: list[str]) -> None:
    tag, element = flattened_name(member, name), member.element
    if element.type != "structure" or element.traits.get("xmlNamespace") or _places(element)[0]:
        for item in items:
            render(element, tag, item, out)
        return
    head, tail = f"<{tag}>", f"</{tag}>"
    for item in items:
        out.append(head)
        render_members(element, item, out)
        out.append(tail)


TextOf = Callable[[Any], str]


@cache
def _plan(shape: Shape) -> tuple[tuple[str, str, TextOf | None, Shape], ...]:
    """Of each member in the body: its name, its tag, and how it becomes text, where it is a scalar."""
    return tuple((name, member.wire_name or name, _text_of(member), member) for name, member in _places(shape)[1])


def _text_of(shape: Shape) -> TextOf | None:
    if shape.type in ("string", "character"):
        return _escaped_text
    if shape.type in ("integer", "long"):
        return str
    if shape.type in ("structure", "list", "map"):
        return None
    return lambda value: escape(render_scalar(shape, value))


def _escaped_text(value: Any) -> str:
    text = value if type(value) is str else str(value)
    return escape(text) if _ESCAPED.search(text) else text


def _render_entry(shape: Shape, name: str, key: str, value: Any, out: list[str]) -> None:
    key_name, value_name = shape.key.wire_name or "key", shape.value.wire_name or "value"
    out.append(f"<{name}><{key_name}>{escape(key)}</{key_name}>")
    render(shape.value, value_name, value, out)
    out.append(f"</{name}>")


def _namespace(shape: Shape) -> str:
    declared = shape.traits.get("xmlNamespace")
    if not isinstance(declared, Mapping):
        return ""
    prefix = declared.get("prefix")
    return f' xmlns{":" + prefix if prefix else ""}="{escape(declared["uri"])}"'


def _attributes(shape: Shape, value: Mapping[str, Any]) -> str:
    return "".join(
        f' {member.wire_name or name}="{escape(str(value[name]))}"'
        for name, member in _places(shape)[0]
        if value.get(name) is not None
    )


@cache
def _places(shape: Shape) -> tuple[Named, Named]:
    """A structure's members that are attributes of its element, and those that are elements in it."""
    attributes, elements = [], []
    for name, member in shape.members.items():
        if member.traits.get("xmlAttribute"):
            attributes.append((name, member))
        elif member.location is None:
            elements.append((name, member))
    return tuple(attributes), tuple(elements)
