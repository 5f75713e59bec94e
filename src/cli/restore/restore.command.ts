import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { addressOf, openDeployment, PLATFORM_HELP } from '../deploy/deployment.ts'
import { connect } from '../shell/client.ts'
import { defineCommand } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import { fromNouns } from '../shell/nouns.ts'
import { configOption } from '../shell/options.ts'
import { root } from '../shell/root.ts'
import { readConfig } from '../wrangler/config.ts'
import { NoteFile, standing } from './note.ts'
import type { RestoreContribution } from './noun.ts'
import { abandon, compare, restore } from './restore.ts'

/** The exit code after Ctrl-C. */
const INTERRUPTED = 130

export const command = defineCommand({
  name: 'restore',
  summary: 'restores one shard to a time in the last 30 days; its later writes are lost',
  details: [
    'The shard’s users get 503 during the restore, and must log in again after it. If interrupted, run the command again to ' +
      'resume. One of --to, --abandon and --compare is required.',
    PLATFORM_HELP,
  ].join('\n'),
  operands: [{ name: 'SHARD', help: 'id of the shard, from shards list' }],
  options: {
    to: { value: 'TIME', help: 'time to restore to, for example 2026-11-24T10:30:00Z' },
    abandon: { help: 'abandon an interrupted restore: bring back the state before it, and return to service' },
    compare: {
      help: 'only compare the shard’s claims and accounts with all shards, as a restore does at its end',
    },
    config: configOption,
  },
  examples: ['restore shard-001 --to 2026-11-24T10:30:00Z', 'restore shard-001 --abandon'],
  async run(_connect, [shard], options) {
    const { to, abandon: isAbandoned, compare: isCompared } = options
    if ([to, isAbandoned, isCompared].filter(Boolean).length !== 1)
      throw new UserError(
        to || isAbandoned
          ? '--to, --abandon and --compare cannot be combined.'
          : 'restore needs --to, --abandon or --compare.',
        `Pass one of them, for example: npm run banyan -- restore ${shard} --to 2026-11-24T10:30:00Z. To abandon an interrupted restore, pass --abandon.`,
      )
    const say = (line: string) => console.error(line)
    const deployment = openDeployment({ config: options.config, environment: process.env, sleep, say })
    const config = readConfig(deployment.readConfigText())
    const address = await addressOf(deployment.platform, config, options.url)
    const connection = connect({ url: address, token: options.token })
    const noteFile = path.join(root, '.wrangler/deploy', `${config.name}-${shard}.restore.json`)
    const about = { shard, connection, noteFile, nouns: await fromNouns<RestoreContribution>('restore') }
    process.once('SIGINT', () => endEarly(noteFile))
    if (isAbandoned) return abandon(deployment, about)
    if (isCompared || to === undefined) return compare(deployment, about)
    return restore(deployment, { ...about, to, now: performance.timeOrigin + performance.now() })
  },
})

/** On Ctrl-C, prints the state of the restore and exits. */
function endEarly(noteFile: string): void {
  const note = new NoteFile(noteFile).read()
  if (note) console.error(standing(note))
  process.exit(INTERRUPTED)
}
