import { defineConfig } from 'vite'

export default defineConfig({
  build: {
    outDir: 'dist/page',
    // A server that runs goes on with the files of its own page while the next one is built.
    emptyOutDir: false,
    // Every file by itself: the policy of the page allows data: addresses for images alone.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // 'use client' is for servers that render, of which there is none here.
    rolldownOptions: { checks: { moduleLevelDirective: false } },
  },
  // npm hoists the React 18 of a development tool to where shared libraries look for theirs.
  resolve: { dedupe: ['react', 'react-dom'] },
  // For `npx vite web`: as in production, the page and the gateway are one origin.
  server: { proxy: { '/api': { target: `http://localhost:${process.env.GATEWAY_PORT || 5000}`, ws: true } } },
})
