// A browser's own WebSocket, in a page of the same origin; the ticket as a subprotocol, or (argv[3]) in the query.
import { launch, say, ticket, topic, url } from "./client.mjs";

const browser = await launch();
const page = await browser.newPage();
await page.exposeFunction("say", say);
await page.goto(url.replace(/^ws/, "http").replace(/ws\/$/, "healthz"));
await page.evaluate(follow, { url, ticket, topic, way: process.argv[3] });

function follow({ url, ticket, topic, way }) {
  const last = {};
  const own = () => last[Object.keys(last).find((name) => name.startsWith("user:"))] ?? 0;

  function connect() {
    const query = new URLSearchParams({ since: own(), ...(way === "query" ? { ticket } : {}) });
    const protocols = way === "query" ? [] : ["coursehub.v1", `ticket.${ticket}`];
    const socket = new WebSocket(`${url}?${query}`, protocols);
    socket.onopen = () => {
      say({ opened: socket.protocol });
      socket.send(JSON.stringify({ type: "subscribe", topic, since: last[topic] ?? 0 }));
    };
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.data && frame.seq) {
        last[frame.courseId ? `course:${frame.courseId}` : `user:${frame.userId}`] = frame.seq;
      }
      say({ frame });
    };
    socket.onclose = ({ code }) => {
      say({ closed: code });
      setTimeout(connect, 50);
    };
  }

  connect();
}
