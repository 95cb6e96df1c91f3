import { defineConfig } from "vite";

const platform = process.env["COMMS_URL"] ?? "http://127.0.0.1:8000";

export default defineConfig({
  // Relative: the platform serves the page below /console/.
  base: "./",
  build: {
    outDir: "../../../comms/static",
    emptyOutDir: true,
    target: ["chrome120", "firefox120", "safari17.4"],
    // Everything in files of its own: the page's policy allows no inline script or data: style.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
  },
  server: {
    proxy: {
      "/api": platform,
      "/socket.io": { target: platform, ws: true },
    },
  },
});
