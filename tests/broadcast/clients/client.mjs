// What the clients of Node have in common: what they are told, what they say, and where they resume.

export const { url, ticket, topic } = JSON.parse(process.argv[2]);

const user = JSON.parse(Buffer.from(ticket.split(".")[1], "base64url")).sub;
const last = { [topic]: 0, [`user:${user}`]: 0 };

// For clients in Chromium, headless.
export async function launch() {
  const { chromium } = await import("playwright-core");
  const args = [
    ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
    ...["--disable-component-update", "--disable-sync"],
  ];
  return chromium.launch({ executablePath: process.env.CHROMIUM, args });
}

export function say(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

export function resumingUrl(more = {}) {
  return url + "?" + new URLSearchParams({ since: last[`user:${user}`], ...more });
}

export function subscribe() {
  return JSON.stringify({ type: "subscribe", topic, since: last[topic] });
}

export function take(text) {
  const frame = JSON.parse(text);
  if (frame.data && frame.seq) last[frame.courseId ? `course:${frame.courseId}` : `user:${frame.userId}`] = frame.seq;
  say({ frame });
}
