// The token comes behind the URL's #, which no browser sends anywhere, or a code does that is good
// for the token once. It is kept for this tab and this origin (so for this port alone), and what came
// is taken out of the address bar and the history.

const KEY = "ktnet-token";

export async function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (location.hash) history.replaceState(null, "", location.pathname);
  const token = given.get("token") ?? (given.has("code") ? await redeem(given.get("code")) : null);
  if (token) sessionStorage.setItem(KEY, token);
}

async function redeem(code) {
  const headers = { Authorization: `Bearer ${code}` };
  const response = await fetch("/api/v1/token", { method: "POST", credentials: "omit", headers });
  return response.ok ? (await response.json()).token : null;
}

export function ask(path, options = {}) {
  return fetch(path, {
    ...options,
    cache: "no-store",
    credentials: "omit",
    headers: { ...options.headers, Authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` },
  });
}
