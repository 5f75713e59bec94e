/**
 * `npm run rehearse`: a double of Cloudflare's API, and the Worker that is uploaded to it, on free ports of this machine
 * until Ctrl-C. Prints what a second terminal needs to deploy to it. The configuration is a copy, which Ctrl-C deletes.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { root } from '../src/cli/shell/root.ts'
import { localShards, shardBindings, withShards } from '../src/cli/wrangler/shard-bindings.ts'
import { cliOn } from '../test/support/platform/cli-run.ts'
import { startPlatform } from '../test/support/platform/double.ts'
import { readOptions } from './options.ts'

readOptions({})
const config = 'wrangler.double-rehearsal.toml'
if (existsSync(path.join(root, config))) {
  console.error(`There is a ${config} already: of a rehearsal that runs, or that was killed.\nIf none runs, delete it.`)
  process.exit(1)
}
// At a signal the runtime ends the process without waiting, so the files are deleted when the process exits.
const folder = mkdtempSync(path.join(tmpdir(), 'banyan-rehearsal-'))
process.env.TMPDIR = folder
const platform = await startPlatform({ serving: 'runtime' })
const cli = cliOn(platform, 'rehearsal')
process.on('exit', () => {
  cli.close()
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(0))
writeFileSync(cli.configPath, rehearsed(readFileSync(cli.configPath, 'utf8'), platform.siteUrl))
const variables = { ...platform.environment, BANYAN_URL: platform.siteUrl }

console.log(`
The double of Cloudflare's API runs. Nothing reaches Cloudflare. In a second terminal, in this folder:

${Object.entries(variables)
  .map(([name, value]) => `  export ${name}=${value}`)
  .join('\n')}
  unset BANYAN_TOKEN
  npm run deploy -- --config ${config}

Then, with the token that the deployment prints:

  export BANYAN_TOKEN=…
  npm run banyan -- shards add --remote --config ${config}

The deployed site: ${platform.siteUrl}
Ctrl-C ends the double, and deletes its data and ${config}.
`)

/** Without what a real deployment has written, and with a name of its own: `.wrangler/deploy` keeps files by the name. */
function rehearsed(toml: string, url: string): string {
  const own = toml
    .replace(/^name = .*$/m, 'name = "banyan-rehearsal"')
    .replace(/^(account_id|PUBLIC_ORIGIN|preview_id) = .*\n/gm, '')
    .replace(/^id = .*$/m, 'id = "00000000000000000000000000000001"')
    .replace(/^JOBS = .*$/m, 'JOBS = "inline"') // The double delivers no messages.
    .replace('[vars]', `[vars]\nPUBLIC_ORIGIN = "${url}"`)
  return withShards(own, localShards(0, shardBindings(own).length))
}
