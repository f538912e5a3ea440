import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// In development the API comes from a server on this machine.
const proxy = { "/api": process.env.WAXWING_SERVER ?? "http://127.0.0.1:8080" };

export default defineConfig({
  plugins: [react()],
  server: { proxy },
  preview: { proxy },
  build: { emptyOutDir: true, manifest: true, target: "es2023", sourcemap: false },
  test: { environment: "happy-dom" },
});
