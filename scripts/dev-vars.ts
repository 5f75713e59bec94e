import { randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { readDevVars } from '../src/cli/wrangler/dev-vars.ts'

/** Variables that the example has got since it was first published. */
const LATER = { MAIL_PREVIEWS: 'on' }

/**
 * Creates `.dev.vars` from its example on the first run, with a random signing key, and adds later variables to an older
 * file. Returns the variables for the Worker.
 */
export function ensureDevVars(root: string): Record<string, string> {
  const file = path.join(root, '.dev.vars')
  if (!existsSync(file)) {
    const example = readFileSync(path.join(root, '.dev.vars.example'), 'utf8')
    const text = example.replace(/^SIGNING_KEY=$/m, `SIGNING_KEY=${randomBytes(32).toString('base64url')}`)
    writeFileSync(file, text, { mode: 0o600 })
    console.log('Created .dev.vars with a new signing key.')
  }
  const values = readDevVars(root)
  for (const [name, value] of Object.entries(LATER))
    if (!(name in values)) {
      const text = readFileSync(file, 'utf8')
      appendFileSync(file, `${text === '' || text.endsWith('\n') ? '' : '\n'}${name}=${value}\n`)
      console.log(`Added ${name}=${value} to .dev.vars.`)
    }
  return readDevVars(root)
}
