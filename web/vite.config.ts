import { createReadStream, existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import vue from '@vitejs/plugin-vue'
import type { Connect, Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

/** Where `npm run dev` finds a daemon. */
const daemon = process.env['AUTOBENCH_URL'] ?? 'http://127.0.0.1:9898'

/**
 * Serves `fixtures/` to `?replay=fixtures/NAME` while developing and previewing. The built page carries no recordings.
 */
function fixtures(): Plugin {
  const folder = join(import.meta.dirname, 'fixtures')
  const serve: Connect.NextHandleFunction = (request, response, next) => {
    const path = (request.url ?? '').split('?')[0] ?? ''
    const file = join(folder, basename(path))
    if (!path.startsWith('/fixtures/') || !existsSync(file)) return next()
    response.setHeader('content-type', 'application/x-ndjson')
    createReadStream(file).pipe(response)
  }
  return {
    name: 'autobench-fixtures',
    configureServer: (server) => void server.middlewares.use(serve),
    configurePreviewServer: (server) => void server.middlewares.use(serve),
  }
}

export default defineConfig({
  // The page works below any path a proxy puts it under.
  base: './',
  plugins: [vue(), fixtures()],
  build: {
    target: 'es2022',
    // A data: address would need an exception in the content security policy.
    assetsInlineLimit: 0,
    sourcemap: false,
  },
  server: {
    proxy: {
      // The daemon refuses a foreign Origin, so the development server's own is replaced.
      '/ws': { target: daemon, ws: true, changeOrigin: true, rewriteWsOrigin: true },
      '/api': { target: daemon, changeOrigin: true },
    },
  },
  test: {
    environment: 'node',
    include: ['tests/**/*.test.ts'],
    // Nothing here waits for real time; the bound is for a busy machine, and for the full counts.
    testTimeout: process.env['AUTOBENCH_LONG'] === '1' ? 600_000 : 30_000,
  },
})
