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

/** The call that was held, as it was recorded: found, shown, gone through with the keyboard, and looked at on a phone. */
async function lookBack(page) {
  const show = await page.waitForSelector("#recordings button", { timeout: MOST_MS });
  await show.focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#sound").duration > 5, { timeout: MOST_MS });
  // In the middle of the call, by the keyboard alone.
  await page.focus("#place");
  await page.$eval("#place", (place) => {
    place.value = place.max / 2;
    place.dispatchEvent(new Event("input"));
  });
  await page.waitForSelector("#timeline rect.agent", { timeout: MOST_MS });
  await page.$eval("#timeline", (timeline) => timeline.focus());
  const read = [];
  for (const key of ["ArrowRight", "ArrowDown", "ArrowRight", "ArrowDown"]) {
    await page.keyboard.press(key);
    read.push(await page.$eval("#reading", (reading) => reading.textContent));
  }
  await page.$eval("#graph details", (details) => (details.open = true));
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }]);
  await page.setViewport({ width: 1280, height: 1800 });
  await page.screenshot({ path: `${pictures}/recorded.png` });
  const seen = await page.evaluate(() => ({
    heading: document.querySelector("#live-heading").textContent,
    captions: document.querySelectorAll("#captions li").length,
    struck: document.querySelectorAll("#captions s").length,
    latency: document.querySelector("#latency").textContent,
    stages: document.querySelectorAll("#latency .stages rect").length,
    facts: document.querySelector("#facts").textContent,
    sound: document.querySelector("#sound").duration,
  }));
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
  await page.setViewport({ width: 400, height: 2600 });
  await page.screenshot({ path: `${pictures}/recorded-phone.png` });
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  const nameless = [];
  const walk = (node) => {
    if (["button", "checkbox", "slider", "combobox", "textbox", "image"].includes(node.role) && !node.name) nameless.push(node);
    (node.children ?? []).forEach(walk);
  };
  walk(await page.accessibility.snapshot());
  await page.click("#back");
  const back = await page.$eval("#live-heading", (heading) => heading.textContent);
  return { ...seen, read, wider, nameless, back };
}

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
  const live = await page.evaluate(() => ({
    graph: [...document.querySelectorAll("#pipeline-graph text.live")].map((text) => text.textContent).filter(Boolean),
    nodes: [...document.querySelectorAll("#nodes tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent)),
    house: document.querySelector("#house").textContent,
  }));
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
  const recorded = await lookBack(page);
  console.log(JSON.stringify({ ...seen, live, recorded, problems }, null, 1));
} finally {
  await browser.close();
}
