// Holds a call with Pipecat's client library in Chromium, both as they are: `node browser.mjs ws://HOST:PORT/v1/rtvi
// CALLER.wav`. The file is the microphone. Prints what the page saw as one line of JSON.

import { createServer } from "node:http";
import { build } from "esbuild";
import puppeteer from "puppeteer-core";

const [url, caller] = process.argv.slice(2);
const MOST_MS = 40_000;
const here = new URL(".", import.meta.url).pathname;

const bundled = await build({
  entryPoints: [`${here}page.js`], bundle: true, write: false, format: "iife", target: "es2022", logLevel: "error",
});
const script = bundled.outputFiles[0].text;
const pages = createServer((request, response) => {
  const isScript = request.url === "/page.js";
  response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
  response.end(isScript ? script : "<!doctype html><title>a caller</title><script src=page.js></script>");
});
await new Promise((listening) => pages.listen(0, "127.0.0.1", listening));

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    `--use-file-for-fake-audio-capture=${caller}%noloop`, "--autoplay-policy=no-user-gesture-required",
  ],
});
const problems = [];
let seen = {};
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(`http://127.0.0.1:${pages.address().port}/`);
  await page.evaluate((url) => window.talk(url), url);
  const times = (name, number) => page.waitForFunction(
    (name, number) => window.seen.events.filter(([, event]) => event === name).length >= number,
    { timeout: MOST_MS }, name, number);
  await times("ready", 1);
  await times("transcript", 1);
  await times("bot-started", 1);
  // Who types into an answer is answered, too.
  await page.evaluate(() => window.write("where are you"));
  await times("llm-started", 2);
  await times("bot-started", 2);
  await page.evaluate(() => window.hangUp());
  await times("disconnected", 1);
  seen = await page.evaluate(() => window.seen);
} catch (error) {
  problems.push(String(error));
} finally {
  await browser.close();
  pages.close();
}
console.log(JSON.stringify({ ...seen, problems }));
