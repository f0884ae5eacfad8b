// The script of the JavaScript clients in headless Chromium. Serves the bundle to a page, tells it
// the URL of the server, and prints what the page says; ends as the script ends.
//
//   node run.mjs CHROMIUM BUNDLE URL [SPKI]
//
// SPKI: base64 of the SHA-256 of the public key of a server with TLS, which no authority vouches
// for. The browser then trusts this key and no other that it does not know.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [chromium, bundle, url, spki] = process.argv.slice(2);

// What the script for Node wants of its surroundings: an argument, an exit, two ways to speak.
const page = `<!doctype html><meta charset="utf-8"><title>interop</title><script>
const tell = (path, what) => fetch(path, { method: "POST", body: String(what), keepalive: true });
let last = Promise.resolve();
const say = (what) => { last = last.then(() => tell("/say", what)); };
console.log = console.error = say;
globalThis.process = {
  argv: ["browser", "interop.mjs", ${JSON.stringify(url)}],
  exit: (code) => { last = last.then(() => tell("/end", code)); throw new Error("ended"); },
};
onerror = (what, file, line) => {
  if (what.endsWith("Error: ended")) return;
  say(what + " " + file + ":" + line);
  process.exit(1);
};
onunhandledrejection = (e) => {
  if (e.reason && e.reason.message === "ended") return;
  say("rejected: " + (e.reason && e.reason.stack || e.reason));
  process.exit(1);
};
</script><script type="module">await import("/bundle.js"); process.exit(0);</script>`;

const profile = mkdtempSync(join(tmpdir(), "interop-browser-"));
let browser;

function end(code) {
  const leave = () => {
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    process.exit(code);
  };
  browser.removeAllListeners("exit");
  if (browser.exitCode !== null || browser.signalCode !== null) leave();
  browser.once("exit", leave);
  browser.kill("SIGKILL");
}

const files = createServer((req, res) => {
  if (req.method === "POST") {
    let body = "";
    req.on("data", (b) => (body += b));
    req.on("end", () => {
      res.end();
      if (req.url === "/say") console.log(body);
      if (req.url === "/end") end(Number(body));
    });
    return;
  }
  const isBundle = req.url === "/bundle.js";
  res.setHeader("content-type", isBundle ? "text/javascript" : "text/html");
  res.end(isBundle ? readFileSync(bundle) : page);
});

files.listen(0, "127.0.0.1", () => {
  const trust = spki ? [`--ignore-certificate-errors-spki-list=${spki}`] : [];
  browser = spawn(chromium, ["--headless=new", "--no-sandbox", "--disable-gpu",
    "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
    `--user-data-dir=${profile}`, ...trust, `http://127.0.0.1:${files.address().port}/`],
  { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  browser.stderr.on("data", (b) => (log = (log + b).slice(-4000)));
  browser.on("exit", (code) => {
    console.error(`the browser ended with ${code}: ${log}`);
    end(1);
  });
});
