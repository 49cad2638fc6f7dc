// A browser's own EventSource, in a page of another origin that is allowed. It comes back by itself; or (argv[3] is
// "reload") the page makes a new one each time, as one does that was loaded again. argv[4] is the page's port.
import { createServer } from "node:http";

import { launch, say, ticket, topic, url } from "./client.mjs";

const server = createServer((_, response) => {
  response.setHeader("Content-Type", "text/html");
  response.end("<!doctype html>");
});
await new Promise((listening) => server.listen(Number(process.argv[4]), "127.0.0.1", listening));

const browser = await launch();
const page = await browser.newPage();
await page.exposeFunction("say", say);
await page.goto(`http://127.0.0.1:${process.argv[4]}/`);
await page.evaluate(follow, { url, ticket, topic, way: process.argv[3] });

function follow({ url, ticket, topic, way }) {
  const { sub } = JSON.parse(atob(ticket.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
  let lastEventId = `user:${sub}=0,${topic}=0`;

  function connect() {
    const source = new EventSource(`${url}?${new URLSearchParams({ topics: topic, ticket, lastEventId })}`);
    source.onopen = () => say({ opened: "stream" });
    source.onmessage = (message) => {
      lastEventId = message.lastEventId;
      say({ frame: JSON.parse(message.data) });
    };
    source.onerror = () => {
      say({ closed: source.readyState });
      if (way !== "reload") return;
      source.close();
      setTimeout(connect, 50);
    };
  }

  connect();
}
