// What changes the cluster: asked for once more in a dialog, then done by the server.

import { ask } from "./token.js";
import { setText } from "./dom.js";

const find = (id) => document.getElementById(id);

export function recover(namespace, name) {
  return confirmAndDo(
    `Recover ${name}?`,
    `${name} in namespace ${namespace} is put back as it was before its session took it.`,
    "Recover",
    "/api/v1/recover",
    { namespace, name },
  );
}

export function clean(namespace) {
  return confirmAndDo(
    `Clean namespace ${namespace}?`,
    "What dead sessions left there is put back and removed: yours, and others' after 10 minutes of silence.",
    "Clean",
    "/api/v1/clean",
    { namespace, all_users: true },
  );
}

async function confirmAndDo(title, text, word, path, body) {
  if (!(await isConfirmed(title, text, word))) return;
  setText(find("done"), `${word} …`);
  try {
    const response = await ask(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    const words = response.ok ? answer.told.join("; ") || "nothing was left" : answer.error;
    setText(find("done"), words);
  } catch (error) {
    setText(find("done"), `not done: ${error.message}`);
  }
}

function isConfirmed(title, text, word) {
  const dialog = find("ask");
  setText(find("ask-title"), title);
  setText(find("ask-text"), text);
  setText(find("ask-yes"), word);
  dialog.returnValue = "";
  find("ask-yes").onclick = () => dialog.close("yes");
  find("ask-no").onclick = () => dialog.close("");
  dialog.showModal();
  find("ask-no").focus(); // Enter by mistake changes nothing
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
  });
}
