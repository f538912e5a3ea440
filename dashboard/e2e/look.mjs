// The browser, and what is looked at on every screen.
import assert from "node:assert/strict";
import { join } from "node:path";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

export const step = (text) => console.log(`${new Date().toISOString().slice(11, 19)} ${text}`);

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });

/** Fails on barriers that axe calls serious or critical. */
export async function audit(page, where) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const grave = violations.filter((v) => v.impact === "serious" || v.impact === "critical");
  const words = grave.map(
    (v) =>
      `${v.id}: ${v.help}\n    ${v.nodes.map((n) => `${n.html}\n      ${n.failureSummary}`).join("\n    ")}`,
  );
  assert.equal(grave.length, 0, `${where}:\n  ${words.join("\n  ")}`);
}

/** Fails when the page scrolls sideways, or something sticks out of its card. */
export async function fits(page, where) {
  const out = await page.evaluate(() => {
    const wide = [document.documentElement, ...document.querySelectorAll(".card")];
    return wide.filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent?.slice(0, 60));
  });
  assert.deepEqual(out, [], `${where}: too wide`);
}

/** Takes a picture of the whole page, once its fonts are there. */
export async function shot(page, folder, name) {
  await page.evaluate(() => document.fonts.ready);
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

/** Listens for errors of the page; the returned function fails when there were any. */
export function sound(page) {
  const heard = [];
  page.on("pageerror", (e) => heard.push(e.message));
  page.on("console", (m) => {
    // What the server refuses on purpose, or what the test cuts, the browser logs as well.
    if (m.type() === "error" && !m.text().startsWith("Failed to load resource")) heard.push(m.text());
  });
  return () => assert.deepEqual(heard, [], "the page logged errors");
}
