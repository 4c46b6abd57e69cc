// A caller in a room by LiveKit's own client library in Chromium, both as they are: `node caller.mjs URL KEY SECRET ROOM VOICE.wav
// [AGENT]`. Does what it is told by lines on its input, and prints what it saw as a line of JSON for each, as caller.py does.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { build } from "esbuild";
import puppeteer from "puppeteer-core";

const [url, key, secret, room, voice, agent] = process.argv.slice(2);
const here = new URL(".", import.meta.url).pathname;

function token() {
  const now = Math.floor(Date.now() / 1_000);
  const claims = { iss: key, sub: "caller", nbf: now - 10, exp: now + 600, video: { roomJoin: true, room } };
  if (agent) claims.roomConfig = { agents: [{ agentName: agent }] };
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

const bundled = await build({
  entryPoints: [`${here}page.js`], bundle: true, write: false, format: "iife", target: "es2022", logLevel: "error",
});
const files = {
  "/page.js": ["text/javascript", bundled.outputFiles[0].text],
  "/voice.wav": ["audio/wav", readFileSync(voice)],
  "/": ["text/html", "<!doctype html><title>a caller</title><script src=page.js></script>"],
};
const pages = createServer((request, response) => {
  const [type, body] = files[request.url] ?? ["text/plain", ""];
  response.setHeader("content-type", type);
  response.end(body);
});
await new Promise((listening) => pages.listen(0, "127.0.0.1", listening));

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection",
  ],
});
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(String(error)));
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);
  await page.evaluate((url, token) => window.join(url, token), url, token());
  for await (const word of createInterface({ input: process.stdin })) {
    if (word === "end") break;
    const answer = await page.evaluate((word) => window.obey(word), word);
    console.log(JSON.stringify(answer));
  }
  await page.evaluate(() => window.leave());
} finally {
  await browser.close();
  pages.close();
}
