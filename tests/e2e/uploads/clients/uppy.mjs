// Uppy in headless Chromium, in a page of another origin than the API and storage.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const told = JSON.parse(process.argv[2]);
const { outputFiles } = await build({
  entryPoints: [new URL("page.mjs", import.meta.url).pathname],
  ...{ bundle: true, format: "iife", write: false, logLevel: "error" },
});
const served = {
  "/": ["text/html", "<!doctype html><title>Upload</title><script src=/page.js></script>"],
  "/page.js": ["text/javascript", outputFiles[0].text],
  "/film.mp4": ["video/mp4", await readFile(told.file)],
};
const server = createServer(({ url }, response) => {
  const [type, body] = served[url] ?? ["text/plain", ""];
  response.writeHead(200, { "Content-Type": type }).end(body);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const flags = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  ...["--disable-component-update", "--disable-sync"],
  // The page is on a free port, and is to have an origin that the API knows. To intercept the page's requests would be
  // easier, but then nobody asks the servers whether they allow the origin.
  `--host-resolver-rules=MAP ${new URL(told.origin).host} 127.0.0.1:${server.address().port}`,
];
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: flags });
try {
  const page = await browser.newPage();
  page.on("console", (message) => process.stderr.write(`${message.text()}\n`));
  await page.goto(`${told.origin}/`);
  const { way, api, token, name, meta } = told;
  const result = await page.evaluate((told) => window.uploadWith(told), { way, api, token, name, meta });
  process.stdout.write(JSON.stringify(result));
} finally {
  await browser.close();
  server.close();
}
