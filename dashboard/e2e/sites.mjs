// Drives a real browser over a real server whose devices play scenes: no site, a site on its way through an update, one of
// 500 devices, one where nothing was measured.
//
//   node e2e/sites.mjs URL TOKEN STAGE [FOLDER]      STAGE plays the next scene when it is asked to
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { audit, fits, launch, shot, sound, step } from "./look.mjs";

const [url, token, stage, folder = "e2e-shots"] = process.argv.slice(2);
assert.ok(url && token && stage, "usage: node e2e/sites.mjs URL TOKEN STAGE [FOLDER]");
mkdirSync(folder, { recursive: true });
const harbour = "Oslo harbour";
const long = { timeout: 60_000 };

const browser = await launch();
try {
  const context = await browser.newContext({ baseURL: url, viewport: { width: 1360, height: 900 } });
  const page = await context.newPage();
  const quiet = sound(page);
  await page.goto(`/#token=${token}`);
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await none(page);
  await play("begin");
  await list(page);
  await live(page);
  await choose(page);
  await many(page);
  await deviceOf(page);
  await exchange(page);
  quiet();
  await trouble(page);
  await context.close();
  await look();
} finally {
  await browser.close();
}
step("all of it held");

/** Has the devices say what a scene wants. */
async function play(scene) {
  const answer = await fetch(`${stage}/${scene}`, { method: "POST" });
  assert.ok(answer.ok, await answer.text());
}

async function none(page) {
  step("no site");
  await page.getByRole("link", { name: "Sites" }).click();
  await page.getByText("No site yet").waitFor();
  await audit(page, "no site");
  await shot(page, folder, "sites-none");
}

/** The list fills by itself. */
async function list(page) {
  step("sites");
  const row = page.getByRole("row").filter({ hasText: harbour });
  const told = row.locator("td.site-moved").getByText(/over the uplink for 23 devices; .* from neighbours/);
  await told.waitFor(long);
  await row.getByText("× less").waitFor();
  const quiet = page.getByRole("row").filter({ hasText: "127.0.0.1" }).locator("td.site-moved");
  await quiet.getByText("Nothing measured yet.").waitFor();
  await page.getByText("hall-9").waitFor();
}

/** The picture moves within a second while an update runs, and adds up. */
async function live(page) {
  step("the picture moves");
  await page.getByRole("link", { name: harbour }).click();
  await page.getByRole("heading", { name: harbour, level: 1 }).waitFor();
  const flow = page.locator(".flow-sum").first();
  let best = Number.POSITIVE_INFINITY; // of several, because the machine may be busy with something else
  for (const percent of [50, 60, 70]) {
    const before = await flow.textContent();
    await play(`advance?percent=${percent}`);
    const began = performance.now();
    await page.waitForFunction(
      ([was]) => document.querySelector(".flow-sum")?.textContent?.split(" · ")[0] !== was,
      [before.split(" · ")[0]],
    );
    best = Math.min(best, performance.now() - began);
  }
  step(`moved after ${best.toFixed(0)} ms`);
  assert.ok(best < 1_000, `the picture moved only after ${best.toFixed(0)} ms`);
  const passed = page
    .getByRole("table", { name: /Rows are givers/ })
    .locator("tbody .matrix-sum")
    .nth(1);
  const gave = await passed.textContent();
  await play("advance?percent=75");
  await page.waitForFunction(
    ([was]) => document.querySelectorAll(".matrix tbody .matrix-sum")[1]?.textContent !== was,
    [gave],
  );
  // 22 devices with neighbours fetch a 24th each, one without fetches all; one has fetched something else.
  const site = await (
    await page.context().request.get(`/api/v1/sites/${new URL(page.url()).pathname.split("/").pop()}`)
  ).json();
  const u = site.site.updates[0];
  assert.equal(u.saved, u.alone - u.bytes.origin);
  assert.equal(u.devices, 22);
  await page.getByText(/^Saved .* = .* alone − .* uplink$/).click();
  await page.getByText(/A device alone would have fetched/).waitFor();
  await page.getByText(/quay-009.* gave wrong bytes, 9 times/).waitFor();
  await page.getByText("3 devices say so.").waitFor();
  await page.getByText("One device says so, and may be wrong.").first().waitFor();
  await audit(page, "a site");
  await shot(page, folder, "site-reckoning");
}

/** Counts lead to their devices, and what is chosen is in the address. */
async function choose(page) {
  step("some of the devices");
  const rows = page.locator("#devices tbody tr");
  await page.getByRole("button", { name: /^Isolated 2$/ }).click();
  await page.waitForURL(/show=isolated/);
  await page.waitForFunction(() => document.querySelectorAll("#devices tbody tr").length === 2);
  await rows.first().locator(".members-standing").getByText("Cannot reach").waitFor();
  await page.goBack();
  await page.goForward();
  await page.getByRole("button", { name: /^Taking no part \d+$/ }).click();
  const why = page.locator("#devices .members-standing");
  await why.getByText(/mesh\.unlisted/).waitFor();
  await why.getByText(/mesh\.off/).waitFor();
  await page.getByRole("button", { name: /^All 24$/ }).click();
  await page.getByLabel("Order").selectOption("origin");
  await page.locator("#devices tbody tr:first-child td.main", { hasText: "quay-007" }).waitFor();
  await page.getByLabel("Bars show").selectOption("moved");
  await page.waitForURL(/bars=moved/);
  await page.getByLabel("Search by name").fill("quay-02");
  await page.waitForFunction(() => document.querySelectorAll("#devices tbody tr").length === 5);
  await page.getByLabel("Search by name").fill("nobody");
  await page.getByText("No device is like that just now.").waitFor();
  await page.reload();
  await page.getByText("No device is like that just now.").waitFor();
}

/** A site of 500 devices is shown by parts, and quickly. */
async function many(page) {
  step("many devices");
  const began = performance.now();
  await page.goto("/sites/hall-9");
  await page.getByText("500 devices", { exact: true }).waitFor();
  step(`shown after ${(performance.now() - began).toFixed(0)} ms`);
  const first = page.locator("#devices tbody tr a").first();
  assert.equal(await page.locator("#devices tbody tr").count(), 50);
  assert.equal(await first.textContent(), "robot-001");
  await page.getByRole("link", { name: "Next page" }).click();
  await page.locator("#devices").getByRole("link", { name: "robot-051" }).waitFor();
  await page.getByRole("link", { name: "First page" }).click();
  await page.locator("#devices").getByRole("link", { name: "robot-001", exact: true }).waitFor();
  await page.getByRole("button", { name: /^Offline 40$/ }).click();
  await page.locator("#devices").getByRole("link", { name: "robot-461" }).waitFor();
}

/** The device's page says how it is among its neighbours, and leads to its site. */
async function deviceOf(page) {
  step("a device among its neighbours");
  await page.goto("/devices/quay-001");
  const card = page.locator("section", { has: page.getByRole("heading", { name: "Among its neighbours" }) });
  await card.getByText(/It could not reach quay-004, quay-007 lately/).waitFor();
  await card.getByText(/quay-009 gave wrong bytes, 3 times/).waitFor();
  await page.getByText(/Of what it fetched, 96 % came from neighbours/).waitFor();
  await audit(page, "a device with troubles");
  await shot(page, folder, "device-troubles");
  await card.getByRole("link", { name: harbour }).click();
  await page.getByRole("heading", { name: harbour, level: 1 }).waitFor();
}

/** Who gave to whom adds up, leads to its devices, and says what to do where it is a symptom. */
async function exchange(page) {
  step("who gave to whom");
  await page.goto("/sites/yard");
  const matrix = page.getByRole("table", { name: /Rows are givers/ });
  const cell = (giver, taker) =>
    matrix
      .getByRole("row", { name: new RegExp(`^${giver}`) })
      .getByRole("cell")
      .nth(taker - 1);
  await matrix.waitFor();
  assert.equal(await matrix.getByRole("columnheader").count(), 9); // seven, their name and the sum
  assert.equal(await cell("crane-001", 2).textContent(), "8.28 MB");
  assert.equal(await cell("crane-001", 1).textContent(), "nothing");
  const { exchange: x } = await (await page.context().request.get("/api/v1/sites/yard")).json();
  for (const [i, t] of x.takers.entries())
    assert.equal(
      t.bytes,
      x.givers.reduce((n, g) => n + g.gave[i], 0),
    );
  await cell("crane-001", 2).hover();
  await page.getByText("crane-001 gave crane-002 8.28 MB").waitFor();
  await page.getByText(/% of the chunks that devices fetched had to come from the server/).waitFor();
  await page.getByText(/crane-006 sees no neighbours/).waitFor();
  await shot(page, folder, "exchange-pointed");
  await matrix.getByRole("rowheader", { name: "crane-001" }).getByRole("link").click();
  await page.getByRole("heading", { name: /^crane-001/, level: 1 }).waitFor();
  await page.getByText("No neighbour gave it anything.").waitFor();
  const from = page.getByRole("list", { name: "From the server, by reason" });
  await from.getByText("Its part of what the site fetches").waitFor();
  await page.goto("/devices/crane-004");
  await page.getByText("The device whose part it was stood still").first().waitFor();
  await page.getByText(/^\d+ % of the chunks that it fetched/).waitFor();
  await page.goto("/devices/quay-001");
  await page.getByText("1 more neighbour", { exact: true }).click();
  await page.goto("/devices/crane-006");
  await page.getByText("No neighbour was in sight").waitFor();
  await page.getByText(/Multicast or a firewall .* run waxwing-agent doctor on it/).waitFor();
  await page.goto("/devices/quay-023");
  await page.getByText(/It does not say who gave it what/).waitFor();
  // Of many twelve are named, and the others are together.
  await page.goto("/sites/hall-9");
  await matrix.waitFor();
  assert.equal(await matrix.getByRole("columnheader").count(), 15);
  await matrix.getByRole("columnheader", { name: "488 others" }).waitFor();
  await matrix.getByRole("row", { name: /^Others/ }).waitFor();
  await page.getByText(/^A full square is .*, one that fades is more\.$/).waitFor();
}

/** What cannot be shown says why; what is on the screen stays. */
async function trouble(page) {
  step("trouble");
  await page.goto("/sites/nowhere");
  await page
    .getByRole("alert")
    .getByText(/there is no such site/)
    .waitFor();
  await audit(page, "no such site");
  await shot(page, folder, "site-trouble");
  await page.route("**/api/v1/sites?**", (r) => r.abort());
  await page.route("**/api/v1/sites", (r) => r.abort());
  await page.goto("/sites");
  await page.locator("[aria-busy=true]").first().waitFor();
  await shot(page, folder, "sites-loading");
  await page.getByText("The server cannot be reached", { exact: true }).waitFor(long);
  await audit(page, "sites cannot be shown");
  await page.unroute("**/api/v1/sites?**");
  await page.unroute("**/api/v1/sites");
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText(harbour).waitFor();
}

/** The screens by day and night and on a phone, while the update runs and when it is done. */
async function look() {
  const list = await (
    await fetch(`${url}/api/v1/sites`, { headers: { Authorization: `Bearer ${token}` } })
  ).json();
  const id = list.items.find((s) => s.name === harbour).id;
  const screens = [
    ["sites", "/sites"],
    ["site", `/sites/${id}`],
    ["site-moved", `/sites/${id}?bars=moved`],
    ["site-many", "/sites/hall-9"],
    ["site-quiet", "/sites/at-127.0.0.1"],
    ["site-few", "/sites/yard"],
    ["device", "/devices/quay-001"],
    ["device-late", "/devices/crane-004"],
    ["device-older", "/devices/quay-023"],
    ["device-apart", "/devices/quay-007"],
  ];
  for (const [colorScheme, width] of [
    ["light", 1360],
    ["dark", 1360],
    ["light", 390],
    ["dark", 390],
  ]) {
    step(`${colorScheme}, ${width} wide`);
    const context = await browser.newContext({ baseURL: url, colorScheme, viewport: { width, height: 900 } });
    const page = await context.newPage();
    const quiet = sound(page);
    await page.goto(`/#token=${token}`);
    await page.getByRole("heading", { name: "Overview" }).waitFor();
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
    if (width === 1360 && colorScheme === "dark") await play("advance?percent=100");
  }
}
