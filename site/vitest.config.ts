import { readFileSync } from "node:fs";
import { defineConfig } from "vitest/config";

const source = readFileSync(new URL("../src/photochrom/version.py", import.meta.url), "utf8");
const version = /__version__ = "(.+)"/u.exec(source)![1];

export default defineConfig({
  define: { PHOTOCHROM_VERSION: JSON.stringify(version) },
  test: { include: ["test/**/*.test.ts"], testTimeout: 30_000 },
});
