import { createRequire } from 'node:module'
import path from 'node:path'

type Wrangler = typeof import('wrangler')

/**
 * The secrets that a local Worker gets from the `.dev.vars` of a folder. wrangler itself reads the file: Node's `parseEnv`
 * has other values for `A: b`, `"a\"b"`, a byte order mark and what follows a closing quote (docs/decisions/0029).
 * Loading wrangler takes 0.7 s, so only who needs the file waits for it.
 */
export function readDevVars(folder: string): Record<string, string> {
  const { unstable_getVarsForDev } = createRequire(import.meta.url)('wrangler') as Wrangler
  const bindings = unstable_getVarsForDev(path.join(folder, 'wrangler.toml'), undefined, {}, undefined, true)
  return Object.fromEntries(Object.entries(bindings).map(([name, { value }]) => [name, String(value)]))
}
