// `node chromium.js ORIGIN URL TYPE…`: what Chromium's EventSource is told, one JSON object a line, on a page of that
// origin: one that is served here, or `null` for a page that is a file, as those of desktop apps are.
import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { listen } from "./listen.js";

const [origin, url, ...types] = process.argv.slice(2);
const html = "<!doctype html><title>An app</title>";

function file() {
  const path = join(mkdtempSync(join(tmpdir(), "page-")), "index.html");
  writeFileSync(path, html);
  return pathToFileURL(path).href;
}

async function served() {
  const { hostname, port } = new URL(origin);
  const server = createServer((_, response) => response.setHeader("content-type", "text/html").end(html));
  await new Promise((listening) => server.listen(port, hostname, listening));
  return origin;
}

// Debian's. The package brings none, and fetches none.
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM });
const page = await browser.newPage();
await page.exposeFunction("tell", (text) => console.log(text));
await page.goto(origin === "null" ? file() : await served());
await page.evaluate(listen, { url, types });
