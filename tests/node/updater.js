// An installed app that looks for updates by electron-updater itself, as it does on Linux, without Electron around it.
//
//   updater.js build FOLDER VERSION                        leaves there what electron-builder would
//   updater.js update FEED FOLDER VERSION STAGING_ID [KEY] that version's app, in FOLDER, looks for an update and takes it
//
// Prints one line of JSON: what it found, and what it got.
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";

const require = createRequire(import.meta.url);
const { AppImageUpdater } = require("electron-updater/out/AppImageUpdater.js");
const { CancellationToken, HttpExecutor, configureRequestOptions, configureRequestUrl } = require("builder-util-runtime");
const yaml = require("js-yaml");

const BLOCKS = 400;
const BLOCK_BYTES = 4096;
const sha512 = (bytes) => createHash("sha512").update(bytes).digest("base64");
const fileOf = (version) => `app-${version}.AppImage`;

/** An app of that version: every third block is that version's own, the others are the same in all. */
function build(folder, version) {
  mkdirSync(folder, { recursive: true });
  const blocks = Array.from({ length: BLOCKS }, (_, index) => {
    const seed = index % 3 === 0 ? `${version} ${index}` : `${index}`;
    const block = Buffer.alloc(BLOCK_BYTES);
    for (let at = 0; at < BLOCK_BYTES; at += 32) createHash("sha256").update(`${seed} ${at}`).digest().copy(block, at);
    return block;
  });
  const checksums = blocks.map((block) => createHash("sha256").update(block).digest("base64").slice(0, 24));
  const files = [{ name: "file", offset: 0, checksums, sizes: blocks.map((block) => block.length) }];
  const map = deflateRawSync(Buffer.from(JSON.stringify({ version: "2", files })));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(map.length);
  const app = Buffer.concat([...blocks, map, length]);
  writeFileSync(join(folder, fileOf(version)), app);
  const file = { url: fileOf(version), sha512: sha512(app), size: app.length, blockMapSize: map.length };
  const info = {
    version, files: [file], path: file.url, sha512: file.sha512, releaseName: `Version ${version}`,
    releaseNotes: "# What is new\n\n- <b>it</b>: \"this\"\n- that\u007f\u0085\u2028", releaseDate: "2026-11-27T09:30:00.000Z",
  };
  const arch = process.arch === "x64" ? "" : `-${process.arch}`;
  writeFileSync(join(folder, `latest-linux${arch}.yml`), yaml.dump(info, { lineWidth: 8000 }));
  return { sha512: file.sha512, size: app.length };
}

/** What Electron does for it. */
class NodeExecutor extends HttpExecutor {
  answers = [];
  createRequest(options, callback) {
    return request(options, (response) => {
      const answer = { path: options.path.split("?")[0], status: response.statusCode, bytes: 0 };
      answer.type = response.headers["content-type"]?.split(";")[0];
      this.answers.push(answer);
      response.on("data", (piece) => (answer.bytes += piece.length));
      callback(response);
    });
  }
  download(url, destination, options) {
    return (options.cancellationToken ?? new CancellationToken()).createPromise((resolve, reject, onCancel) => {
      const of = { headers: options.headers || undefined };
      configureRequestUrl(url, of);
      configureRequestOptions(of);
      const callback = (error) => (error ? reject(error) : resolve(destination));
      this.doDownload(of, { destination, options, onCancel, callback, responseHandler: null }, 0);
    });
  }
}

async function update(feed, folder, version, stagingId, key) {
  const data = mkdtempSync(join(tmpdir(), "app-"));
  writeFileSync(join(data, ".updaterId"), stagingId);
  writeFileSync(join(data, "app-update.yml"), yaml.dump({ provider: "generic", url: feed, updaterCacheDirName: "app" }));
  process.env.APPIMAGE = join(folder, fileOf(version));
  const app = {
    version, name: "app", isPackaged: true, appUpdateConfigPath: join(data, "app-update.yml"), userDataPath: data,
    baseCachePath: data, whenReady: async () => {}, onQuit() {}, quit() {}, relaunch() {},
  };
  const updater = new AppImageUpdater(null, app);
  const said = [];
  const say = (text) => said.push(String(text));
  updater.logger = { info() {}, debug() {}, warn: say, error: say };
  updater.on("error", () => {});
  updater.httpExecutor = new NodeExecutor();
  updater.updateConfigPath = app.appUpdateConfigPath;
  updater.autoDownload = false;
  if (key) updater.addAuthHeader(`License ${key}`);
  const { answers } = updater.httpExecutor;
  const found = await updater.checkForUpdates();
  const { updateInfo: info } = found;
  const seen = { isAvailable: found.isUpdateAvailable, version: info.version, staging: info.stagingPercentage ?? null };
  if (!found.isUpdateAvailable) return { ...seen, answers };
  const [file] = await updater.downloadUpdate();
  return { ...seen, notes: info.releaseNotes, name: info.releaseName, sha512: sha512(readFileSync(file)), said, answers };
}

const [what, ...rest] = process.argv.slice(2);
let result;
try {
  result = what === "build" ? build(...rest) : await update(...rest);
} catch (error) {
  result = { error: error.code ?? String(error), status: error.statusCode ?? null };
}
console.log(JSON.stringify(result));
process.exit(0); // whatever it still has open
