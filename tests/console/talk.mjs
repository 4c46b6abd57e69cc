// A caller at the console page, in a browser that nobody here wrote: `node talk.mjs URL CALLER.wav PICTURES`. The file is the
// microphone. Prints what the page shows as one JSON object.

import puppeteer from "puppeteer-core";

const [url, caller, pictures] = process.argv.slice(2);
const MOST_MS = 60_000;

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
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 1000 });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  await page.goto(url);
  await page.screenshot({ path: `${pictures}/before.png` });
  await page.click("#call");
  const shows = (words) => page.waitForFunction(
    (words) => document.querySelector("#latency").textContent.includes(words), { timeout: MOST_MS }, words);
  await page.waitForSelector("#captions .agent", { timeout: MOST_MS });
  // The caller speaks into the second answer, and that cuts it.
  await shows("barge_in");
  await page.waitForFunction(() => document.querySelectorAll("#captions .agent").length === 3, { timeout: MOST_MS });
  await page.screenshot({ path: `${pictures}/light.png` });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
  await page.setViewport({ width: 400, height: 1500 });
  await page.screenshot({ path: `${pictures}/dark-phone.png` });
  await page.setViewport({ width: 1280, height: 1000 });
  // Who types into an answer cuts it, too.
  await page.waitForFunction(
    () => document.querySelector("#latency").textContent.split("said to its end").length === 3, { timeout: MOST_MS });
  await page.type("#words", "what is your address");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#captions .agent").length === 4, { timeout: MOST_MS });
  const seen = await page.evaluate(() => ({
    captions: [...document.querySelectorAll("#captions li")].map((item) => item.textContent),
    struck: [...document.querySelectorAll("#captions s")].map((item) => item.textContent),
    latency: [...document.querySelectorAll("#latency tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)),
    facts: document.querySelector("#facts").textContent,
    bars: document.querySelectorAll("#timeline rect").length,
    problem: document.querySelector("#problem").textContent,
  }));
  await page.click("#call");
  await page.waitForFunction(() => document.querySelector("#state").dataset.state === "idle", { timeout: MOST_MS });
  console.log(JSON.stringify({ ...seen, problems }, null, 1));
} finally {
  await browser.close();
}
