// Elements from data. Text is only ever set as text: names come from clusters and from the network.

const SVG = "http://www.w3.org/2000/svg";

export function build(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function setText(element, text) {
  // Only where it differs: a selection, and what a screen reader says, stay undisturbed.
  if (element.textContent !== text) element.textContent = text;
}
