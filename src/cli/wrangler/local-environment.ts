/**
 * Imported before wrangler. Keeps the files of wrangler and the runtime (settings, registry, logs, temporary files)
 * inside the project folder.
 */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { root } from '../shell/root.ts'

const folder = path.join(root, '.wrangler')
const places = {
  TMPDIR: 'tmp',
  XDG_CONFIG_HOME: 'config',
  XDG_CACHE_HOME: 'cache',
  WRANGLER_CACHE_DIR: 'cache',
  WRANGLER_REGISTRY_PATH: 'registry',
  WRANGLER_LOG_PATH: 'logs',
}

for (const [name, place] of Object.entries(places)) {
  const target = path.join(folder, place)
  mkdirSync(target, { recursive: true })
  process.env[name] = target
}
process.env.WRANGLER_SEND_METRICS = 'false'
