import type { DeadLetterPage } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { table } from '../shell/table.ts'
import { DEAD_LETTERS } from './requests.ts'

const ERROR_CHARACTERS_MAX = 80

export const command = defineCommand({
  name: 'dead-letters list',
  summary: 'lists jobs that used up their attempts, the newest death first',
  details:
    'Asks every shard for one page. If a shard does not answer, its letters are missing from the page. The command then names the shard, and exits 1. With --json, it prints whole errors and the history of attempts.',
  options: {
    kind: { value: 'KIND', help: 'kind of job, from jobs list (default: all kinds)' },
    limit: { value: 'COUNT', help: 'maximum number of letters on the page, up to 100 (default: 20)' },
    cursor: {
      value: 'CURSOR',
      help: 'position to start from, as printed by a previous list (default: the first page)',
    },
  },
  examples: ['dead-letters list', 'dead-letters list --kind cache.purge --json'],
  async run(connect, _operands, { kind, limit, cursor }) {
    const query = new URLSearchParams()
    for (const [name, value] of Object.entries({ kind, limit, cursor })) if (value) query.set(name, value)
    const answer = await connect().get<DeadLetterPage>(`${DEAD_LETTERS}?${query}`)
    const rows = answer.items.map(({ id, kind, attempts, error, diedAt }) => [
      id,
      kind,
      diedAt,
      String(attempts),
      shortened(error),
    ])
    const list =
      rows.length > 0 ? table(['id', 'kind', 'died', 'attempts', 'error'], rows, 5) : 'No dead letters found.'
    const next = answer.next ? `\n\nMore letters: repeat the command with --cursor ${answer.next}` : ''
    const missed = `\n\nSome letters are missing, because these shards did not answer: ${answer.failed.join(', ')}. List them again when they do.`
    const isFailure = answer.failed.length > 0
    return { json: answer, text: list + next + (isFailure ? missed : ''), isFailure }
  },
})

/** The error's first line. */
function shortened(error: string): string {
  const line = error.split('\n')[0] ?? ''
  return line.length > ERROR_CHARACTERS_MAX ? `${line.slice(0, ERROR_CHARACTERS_MAX - 1)}…` : line
}
