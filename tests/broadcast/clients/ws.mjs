// Node's ws, with the ticket in a header.
import WebSocket from "ws";

import { resumingUrl, say, subscribe, take, ticket } from "./client.mjs";

function connect() {
  const socket = new WebSocket(resumingUrl(), "coursehub.v1", { headers: { Authorization: `Bearer ${ticket}` } });
  socket.on("open", () => {
    say({ opened: socket.protocol });
    socket.send(subscribe());
  });
  socket.on("message", (data, isBinary) => take(isBinary ? "null" : data.toString()));
  socket.on("error", () => {});
  socket.on("close", (code) => {
    say({ closed: code });
    setTimeout(connect, 50);
  });
}

connect();
