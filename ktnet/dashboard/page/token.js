// The token comes behind the URL's #, which no browser sends anywhere. It is kept for this tab and
// this origin (so for this port alone), and taken out of the address bar and the history.

const KEY = "ktnet-token";

export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY) ?? "";
}

export function ask(path, options = {}) {
  return fetch(path, {
    ...options,
    cache: "no-store",
    credentials: "omit",
    headers: { ...options.headers, Authorization: `Bearer ${takeToken()}` },
  });
}
