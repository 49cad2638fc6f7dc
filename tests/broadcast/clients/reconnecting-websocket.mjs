// reconnecting-websocket, which does the reconnecting itself, with the ticket as a subprotocol.
import ReconnectingWebSocket from "reconnecting-websocket";
import WebSocket from "ws";

import { resumingUrl, say, subscribe, take, ticket } from "./client.mjs";

const options = { WebSocket, minReconnectionDelay: 50, maxReconnectionDelay: 200, minUptime: 0 };
const socket = new ReconnectingWebSocket(resumingUrl, ["coursehub.v1", `ticket.${ticket}`], options);
socket.addEventListener("open", () => {
  say({ opened: socket.protocol });
  socket.send(subscribe());
});
socket.addEventListener("message", (message) => take(message.data));
socket.addEventListener("close", (close) => say({ closed: close.code }));
socket.addEventListener("error", () => {});
