import type { UserPage } from '../../console/shapes.ts'
import { defineCommand } from '../shell/command.ts'
import { table } from '../shell/table.ts'

export const command = defineCommand({
  name: 'users list',
  summary: 'lists the users of all shards, by handle or newest first',
  details:
    'Asks every shard for one page. If a shard does not answer, its users are missing on the page; the command names the shard and its slots, and exits 1.',
  options: {
    prefix: { value: 'TEXT', help: 'start of the handles to list (default: all handles)' },
    recent: { help: 'lists the newest sign-ups first' },
    limit: { value: 'COUNT', help: 'the most users of the page, up to 100 (default: 20)' },
    cursor: {
      value: 'CURSOR',
      help: 'position to start from, as a previous list printed it (default: the first page)',
    },
    slots: {
      value: 'RANGES',
      help: 'slots whose users to list, as a list that missed some printed them (default: all slots)',
    },
  },
  examples: ['users list --prefix ada', 'users list --recent --limit 100'],
  async run(connect, _operands, { prefix, recent, limit, cursor, slots }) {
    const query = new URLSearchParams()
    for (const [name, value] of Object.entries({ prefix, limit, cursor, slots })) if (value) query.set(name, value)
    if (recent) query.set('order', 'recent')
    const answer = await connect().get<UserPage>(`/operator/v1/users?${query}`)
    const rows = answer.items.map(({ id, handle, displayName, createdAt }) => [handle, createdAt, id, displayName])
    const list = rows.length > 0 ? table(['handle', 'signed up', 'id', 'name'], rows, 4) : 'There are no users here.'
    const next = answer.next ? `\n\nMore users: repeat the command with --cursor ${answer.next}` : ''
    const isFailure = answer.failed.length > 0
    return { json: answer, text: list + next + (isFailure ? missed(answer) : ''), isFailure }
  },
})

const missed = ({ failed, missing }: UserPage): string =>
  `\n\nNot all users: ${failed.join(', ')} did not answer. To list theirs when it does: repeat the command with --slots ${missing}`
