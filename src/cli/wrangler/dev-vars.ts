import { createRequire } from 'node:module'
import path from 'node:path'

type Wrangler = typeof import('wrangler')

/**
 * The secrets that a local Worker gets from a folder's `.dev.vars`. wrangler itself reads the file, because Node's
 * `parseEnv` differs for `A: b`, `"a\"b"`, a byte order mark and text after a closing quote (docs/decisions/0029).
 * wrangler is loaded on demand, because loading it takes 0.7 s.
 */
export function readDevVars(folder: string): Record<string, string> {
  const { unstable_getVarsForDev } = createRequire(import.meta.url)('wrangler') as Wrangler
  const bindings = unstable_getVarsForDev(path.join(folder, 'wrangler.toml'), undefined, {}, undefined, true)
  return Object.fromEntries(Object.entries(bindings).map(([name, { value }]) => [name, String(value)]))
}
