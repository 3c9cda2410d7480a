// The cluster's side: Services, sessions of all users, and what dead ones have left.

import { formatAge } from "./format.js";
import { Table } from "./table.js";
import { build } from "./dom.js";

function describeFront({ holder, session, command, alive, mark }) {
  const which = mark ? `, for ${mark}` : "";
  return `${holder || session} (${command}${which}${alive ? "" : ", dead"})`;
}

const SERVICES = [
  ["Service", ({ name }) => name],
  ["Namespace", ({ namespace }) => namespace],
  ["Address", ({ addresses }) => addresses.join(", ")],
  ["Ports", ({ ports }) => ports.join(", ")],
  ["In front", ({ fronts }) => fronts.map(describeFront).join("; ")],
];

const SESSIONS = [
  ["Session", ({ name }) => name],
  ["Namespace", ({ namespace }) => namespace],
  ["Command", ({ command }) => command],
  ["Who", ({ holder }) => holder],
  ["Since", ({ since }) => since],
  ["State", ({ alive, silent_s }) => (alive ? "alive" : `dead, silent for ${formatAge(silent_s)}`)],
  ["Holds", ({ holds }) => holds.join(", ")],
];

export class ClusterPart {
  // `onRecover(namespace, name)` and `onClean(namespace)` are called when a button is pressed.
  constructor(parents, onRecover, onClean) {
    const keyOf = ({ namespace, name }) => `${namespace}/${name}`;
    this.services = new Table(parents.services, "Services", SERVICES, keyOf);
    this.everybody = new Table(parents.everybody, "Sessions of all users", SESSIONS, keyOf);
    const leftovers = [
      ["What", ({ what }) => what],
      ["Namespace", ({ namespace }) => namespace],
      ["Who", ({ holder }) => holder],
      ["Silent for", ({ silent_s }) => (silent_s ? formatAge(silent_s) : "")],
      ["", null, (record) => buildButton(record, onRecover, onClean)],
    ];
    this.leftovers = new Table(parents.leftovers, "Left behind", leftovers, ({ key }) => key);
  }

  show({ services = [], sessions = [] }) {
    this.services.show([...services].sort(byFronts));
    this.everybody.show(sessions);
    const dead = sessions.filter(({ alive }) => !alive).flatMap(listLeftovers);
    this.leftovers.show(dead);
    return dead.length;
  }
}

// Those that somebody stands in front of come first.
const byFronts = (a, b) => b.fronts.length - a.fronts.length;

function listLeftovers(session) {
  const { namespace, name, holds } = session;
  const rows = holds.map((held) => ({ ...session, what: held, held, key: `${namespace}/${name}/${held}` }));
  return rows.length ? rows : [{ ...session, what: `session ${name}`, key: `${namespace}/${name}` }];
}

function buildButton({ namespace, held, what }, onRecover, onClean) {
  const button = build("button", { type: "button" }, held ? "Recover" : "Clean");
  button.setAttribute("aria-label", `${held ? "Recover" : "Clean"} ${what} in ${namespace}`);
  button.addEventListener("click", () => (held ? onRecover(namespace, held) : onClean(namespace)));
  return button;
}
