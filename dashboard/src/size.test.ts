// @vitest-environment node
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";

const dist = join(import.meta.dirname, "../dist");
const manifest = join(dist, ".vite/manifest.json");
const budget = 280_000; // bytes of the first load, gzip, of everything that a browser fetches to show the overview

interface Piece {
  file: string;
  css?: string[];
  assets?: string[];
  imports?: string[];
}

test.runIf(existsSync(manifest) || process.env.CI === "true")("the first load stays small", () => {
  const pieces = JSON.parse(readFileSync(manifest, "utf8")) as Record<string, Piece>;
  const files = new Set(["index.html", "waxwing.svg"]);
  const add = (name: string) => {
    const piece = pieces[name];
    if (!piece) throw new Error(`the build has no ${name}`);
    for (const file of [piece.file, ...(piece.css ?? []), ...(piece.assets ?? [])]) files.add(file);
    for (const other of piece.imports ?? []) add(other);
  };
  add("index.html");
  add("src/screens/overview/Overview.tsx");

  const sizes = [...files].map((file) => ({ file, bytes: small(file) }));
  const total = sizes.reduce((n, s) => n + s.bytes, 0);
  console.log(`first load: ${(total / 1000).toFixed(1)} kB gzip in ${sizes.length} files`);
  expect(total, JSON.stringify(sizes, null, 1)).toBeLessThanOrEqual(budget);
});

function small(file: string): number {
  const plain = readFileSync(join(dist, file));
  return file.endsWith(".woff2") ? plain.length : gzipSync(plain, { level: 9 }).length; // a font is compressed already
}
