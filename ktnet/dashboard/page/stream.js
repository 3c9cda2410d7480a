// Server-sent events, read by fetch: EventSource can't send the token as a header.
// https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

import { ask } from "./token.js";

const RETRY_MS = 1000;

// Calls on[name](value) for each event and onState(text, isUp) when the stream comes or goes; ends
// only when the token is refused, since no retry would change that.
export async function follow(on, onState) {
  for (;;) {
    try {
      const response = await ask("/api/v1/stream");
      if (response.status === 401) {
        onState("the token is missing or wrong: use the link that ktnet dashboard printed", false);
        return;
      }
      if (!response.ok) throw new Error((await response.json()).error);
      onState("live", true);
      for await (const { name, value } of readEvents(response.body)) on[name]?.(value);
      onState("ktnet dashboard has ended; trying again", false);
    } catch (error) {
      onState(`no connection to ktnet dashboard (${error.message}); trying again`, false);
    }
    await new Promise((done) => setTimeout(done, RETRY_MS));
  }
}

async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map(splitField));
      yield { name: fields.event, value: JSON.parse(fields.data) };
    }
  }
}

function splitField(line) {
  const colon = line.indexOf(": ");
  return [line.slice(0, colon), line.slice(colon + 2)];
}
