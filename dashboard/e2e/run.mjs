// Drives a real browser over a real server and fleet: signs in, publishes a release from an image, rolls it out through
// a gate that a person opens, follows it to its end, and looks at every screen for what hurts people.
//
//   node e2e/run.mjs URL TOKEN IMAGE [FOLDER]      FOLDER gets screenshots; the image is published as edge-gw 2.0.0
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { audit, fits, launch, shot, sound, step } from "./look.mjs";

const [url, token, image, folder = "e2e-shots"] = process.argv.slice(2);
assert.ok(url && token && image, "usage: node e2e/run.mjs URL TOKEN IMAGE [FOLDER]");
mkdirSync(folder, { recursive: true });

const product = process.env.PRODUCT ?? "edge-gw";
const version = process.env.VERSION ?? "2.0.0";
const hardware = process.env.HARDWARE ?? "virtual";
const name = `${product} ${version}`;
const long = { timeout: 120_000 };

const browser = await launch();
try {
  // Every context has a profile of its own in a temporary folder.
  const context = await browser.newContext({ baseURL: url, viewport: { width: 1360, height: 900 } });
  const page = await context.newPage();
  const quiet = sound(page);
  await signIn(page);
  await publish(page);
  const rollout = await rollOut(page);
  await follow(page, rollout);
  await enrol(page);
  await group(page);
  await live(page, context);
  await lostStream(page);
  quiet();
  await context.close();
  await look(rollout);
} finally {
  await browser.close();
}
step("all of it held");

async function signIn(page) {
  step("sign in");
  await page.goto("/devices?filter=online%3Dtrue");
  await page.getByLabel("Token", { exact: true }).fill("wxo_wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page
    .getByText(/token/i)
    .filter({ hasText: /unknown|refused|not|no /i })
    .first()
    .waitFor();
  await shot(page, folder, "sign-in");
  await audit(page, "sign in");
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  // The screen that was asked for, with what was asked of it.
  await page.getByRole("heading", { name: "Devices", level: 1 }).waitFor();
  await page.getByText(/\d+ devices? match/).waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
}

async function publish(page) {
  step(`publish ${name}`);
  await page.getByRole("link", { name: "Releases" }).click();
  await page.getByRole("link", { name: "New release" }).click();
  let moved = 0;
  page.on("request", (r) => {
    if (r.method() === "PATCH") moved++;
  });
  await page.locator("input[type=file]").setInputFiles(image);
  await page.getByRole("combobox", { name: "Product" }).fill(product);
  await page.getByLabel("Version").fill(version);
  const hardwares = page.getByRole("combobox", { name: "Hardware that it fits" });
  await hardwares.fill(hardware);
  await hardwares.press("Enter");
  await page.getByText(/ sent$/).waitFor(long);
  assert.ok(moved >= 2, `the image went in ${moved} requests; slices were expected`);
  await page.keyboard.press("Escape");
  await shot(page, folder, "new-release");
  await page.getByRole("button", { name: "Publish" }).click();
  await page.getByRole("heading", { name }).waitFor();
  await shot(page, folder, "building");
  await page.getByText("Published", { exact: true }).waitFor(long);

  step("patches from what the fleet runs");
  await page
    .getByRole("row")
    .filter({ hasText: "Ready" })
    .getByText(/\d [kM]?B/)
    .first()
    .waitFor(long);
  await shot(page, folder, "patches");
}

async function rollOut(page) {
  step(`roll out ${name}`);
  await page.getByRole("link", { name: "Roll out" }).click();
  await page.getByRole("heading", { name: "New rollout" }).waitFor();
  await page.getByLabel("Stage 1: a person must promote").check({ force: true });
  await page.getByText(/devices? would take part/).waitFor();
  await shot(page, folder, "new-rollout");
  await page.getByRole("button", { name: "Start rollout" }).click();
  await page.waitForURL(/\/rollouts\/rol_/);
  return new URL(page.url()).pathname;
}

async function follow(page, rollout) {
  step("the canary");
  await page.getByText("Waits for you", { exact: true }).waitFor(long);
  await shot(page, folder, "rollout-waits");
  await adds(page);

  await page.getByRole("link", { name: "Overview" }).first().click();
  await page.getByText(/waits for you to promote stage 1/).click();
  await page.waitForURL(`**${rollout}`);

  step("promote");
  await page.getByRole("button", { name: "Promote" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText(/more devices? may begin/).waitFor();
  await audit(page, "confirm");
  await shot(page, folder, "promote");
  await dialog.getByLabel("Reason").fill("the canary is well");
  await dialog.getByRole("button", { name: "Promote" }).click();
  await dialog.waitFor({ state: "detached" });
  await page.getByText(/Stage [23] of 3/).waitFor(long);
  await shot(page, folder, "rollout-moves");
  await page.getByText("Completed", { exact: true }).waitFor(long);
  await adds(page);
  await shot(page, folder, "rollout-done");

  step("what its site carried");
  await page.goto("/sites/demo");
  await page.getByRole("heading", { name: `${name} at this site` }).waitFor();
  await page.getByText(/^Committed on \d+ devices$/).waitFor(long);
  const sums = await page.locator(".flow-sum").allTextContents();
  assert.ok(sums.length === 3 && sums.every((t) => /\d [kM]?B$/.test(t)), `the picture says ${sums}`);
  const matrix = page.getByRole("table", { name: /Rows are givers/ });
  await matrix.getByRole("row", { name: /^The server/ }).waitFor();
  const giver = matrix.getByRole("rowheader").getByRole("link").first(); // a real device that gave
  await giver.click();
  await page.getByRole("heading", { name: "Where it came from" }).waitFor();
  await page
    .getByRole("list", { name: "From the server, by reason" })
    .getByRole("listitem")
    .first()
    .waitFor();
  await page.goto(rollout);

  step("every number leads to its devices");
  const succeeded = page.getByRole("link", { name: /^Succeeded \d+ devices?$/ }).first();
  const count = Number.parseInt(await succeeded.locator("b").textContent(), 10);
  await succeeded.click();
  await page.waitForURL(/status=succeeded/);
  await page.locator("#devices").getByText(`${count} device`).first().waitFor();
  assert.equal(await page.locator("#devices tbody tr").count(), count);
  await page.getByText("the canary is well").first().waitFor();
}

/** The counts under the first bar add up to the total above it. */
async function adds(page) {
  const card = page.locator("section", { hasText: /started .* by/ }).first();
  const total = Number.parseInt(await card.getByRole("heading").textContent(), 10);
  const parts = await card.locator(".legend b").allInnerTexts();
  const sum = parts.reduce((n, text) => n + Number.parseInt(text, 10), 0);
  assert.equal(sum, total, `${parts.join(" + ")} is not ${total}`);
}

/** A token for devices, with the command that uses it. */
async function enrol(page) {
  step("a token");
  await page.getByRole("link", { name: "Tokens" }).click();
  await page.getByRole("button", { name: "New token" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Note").fill("south shop floor");
  await audit(page, "new token");
  await shot(page, folder, "new-token");
  await dialog.getByRole("button", { name: "Make token" }).click();
  await dialog.getByText(/^waxwing-agent enroll .*--token wxe_/).waitFor();
  await audit(page, "the token is made");
  await shot(page, folder, "token-made");
  await dialog.getByRole("button", { name: "Done" }).click();
  await page
    .getByRole("row")
    .filter({ hasText: "south shop floor" })
    .getByRole("button", { name: "Revoke" })
    .click();
  await dialog.getByRole("button", { name: "Revoke" }).click();
  await page.getByText("The token is worthless now.").waitFor();
  await page.getByRole("row").filter({ hasText: "south shop floor" }).waitFor({ state: "detached" });
}

/** A group, counted while its selector is typed. */
async function group(page) {
  step("a group");
  await page.getByRole("link", { name: "Groups" }).click();
  await page.getByRole("button", { name: "New group" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("canaries");
  await dialog.getByLabel("Selector").fill("id in (device-1, ");
  await dialog.getByText(/selector, column \d+/).waitFor();
  await dialog.getByLabel("Selector").fill("id in (device-1, device-2)");
  await dialog.getByText("2 devices", { exact: true }).waitFor();
  await audit(page, "new group");
  await shot(page, folder, "new-group");
  await dialog.getByRole("button", { name: "Save" }).click();
  const row = page.getByRole("row").filter({ hasText: "canaries" });
  await row.getByRole("link", { name: "2" }).click();
  await page.getByText("2 devices match").waitFor();
}

/** A change made elsewhere is seen here at once. */
async function live(page, context) {
  step("a change elsewhere");
  await page.goto("/devices");
  const first = page.locator("tbody tr").first();
  const id = await first.getByRole("link").first().textContent();
  await page.getByText("Live", { exact: true }).waitFor();
  await page.waitForLoadState("networkidle", { timeout: 2_000 }).catch(() => {}); // the stream never ends
  let best = Number.POSITIVE_INFINITY; // of three, because the machine may be busy with something else
  for (let i = 0; i < 3; i++) {
    const value = String(Date.now());
    const began = performance.now();
    const answer = await context.request.patch(`/api/v1/devices/${id}`, {
      headers: { Authorization: `Bearer ${token}` },
      data: { labels: { seen: value } },
    });
    assert.ok(answer.ok(), await answer.text());
    await first.getByText(`seen=${value}`).waitFor();
    best = Math.min(best, performance.now() - began);
  }
  step(`seen after ${best.toFixed(0)} ms`);
  assert.ok(best < 1_000, `a change was seen only after ${best.toFixed(0)} ms`);
}

/** Without the stream the page says so, and is live again by itself. */
async function lostStream(page) {
  step("the stream is cut");
  await page.route("**/api/v1/events", (r) => r.abort());
  await page.reload();
  await page.getByText(/^(Reconnecting|As of \d\d:\d\d)$/).waitFor();
  await page.getByText(/^As of \d\d:\d\d$/).waitFor({ timeout: 15_000 });
  await shot(page, folder, "stale");
  await page.unroute("**/api/v1/events");
  await page.getByText("Live", { exact: true }).waitFor({ timeout: 15_000 });
}

/** Every screen, by day and night and on a phone. */
async function look(rollout) {
  const device = "device-1";
  const screens = [
    ["overview", "/"],
    ["devices", "/devices"],
    ["device", `/devices/${device}`],
    ["sites", "/sites"],
    ["site", "/sites/demo"],
    ["groups", "/groups"],
    ["releases", "/releases"],
    ["release", `/releases/${product}/${version}`],
    ["release-new", "/releases/new"],
    ["rollouts", "/rollouts"],
    ["rollout", rollout],
    ["rollout-new", `/rollouts/new?release=${product}%2F${version}`],
    ["tokens", "/tokens"],
    ["activity", "/activity"],
  ];
  for (const [colorScheme, width] of [
    ["light", 1360],
    ["dark", 1360],
    ["light", 390],
  ]) {
    step(`${colorScheme}, ${width} wide`);
    const context = await browser.newContext({ baseURL: url, colorScheme, viewport: { width, height: 900 } });
    const page = await context.newPage();
    const quiet = sound(page);
    await page.goto(`/#token=${token}`); // a link signs in too, and leaves no token behind
    await page.getByRole("heading", { name: "Overview" }).waitFor();
    assert.equal(new URL(page.url()).hash, "");
    for (const [what, path] of screens) {
      await page.goto(path);
      await page.locator("h1").waitFor();
      await page.locator("[aria-busy=true]").first().waitFor({ state: "detached" });
      await shot(page, folder, `${what}-${colorScheme}-${width}`);
      await audit(page, `${what}, ${colorScheme}, ${width}`);
      await fits(page, `${what}, ${colorScheme}, ${width}`);
    }
    quiet();
    await context.close();
  }
}
