// The plain way with `ws`: a set of sockets for each topic, one send() for each.
const [port, modules] = process.argv.slice(2);
const http = require("http");
const { WebSocketServer } = require(`${modules}/ws`);

const topics = new Map();
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });

function publish(topic, body) {
  for (const socket of topics.get(topic) ?? []) socket.send(body, { binary: false });
}

function subscribe(socket, names) {
  for (const name of names) {
    if (!topics.has(name)) topics.set(name, new Set());
    topics.get(name).add(socket);
  }
  socket.on("close", () => names.forEach((name) => topics.get(name).delete(socket)));
}

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    publish(request.url.split("/")[2], Buffer.concat(parts));
    response.writeHead(202, { "Content-Length": 0 }).end();
  });
});

server.on("upgrade", (request, stream, head) => {
  const names = request.url.split("/").slice(2);
  sockets.handleUpgrade(request, stream, head, (socket) => subscribe(socket, names));
});
server.keepAliveTimeout = 600000;
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 });
