import type { Connection } from '../shell/client.ts'
import type { Command, Output } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import type { OptionValues } from '../shell/options.ts'
import { table } from '../shell/table.ts'
import { followMoves } from './follow-moves.ts'
import {
  details,
  hasFailed,
  type Move,
  outcome,
  percent,
  planText,
  type Sides,
  shortened,
  sidesText,
  stateOf,
  time,
  watch,
} from './move-text.ts'

interface Page {
  items: Move[]
  next: string | null
}

const MOVES = '/operator/v1/moves'
const pathOf = (id: string) => `${MOVES}/${encodeURIComponent(id)}`

async function listMoves(connect: () => Connection, _operands: string[], { cursor }: OptionValues): Promise<Output> {
  const answer = await connect().get<Page>(cursor ? `${MOVES}?cursor=${encodeURIComponent(cursor)}` : MOVES)
  if (answer.items.length === 0) return { json: answer, text: 'No moves. Start one: npm run banyan -- help' }
  const rows = answer.items.map((move) => [
    move.id,
    move.keyspace,
    shortened(move.slots),
    move.source,
    move.target,
    stateOf(move),
    percent(move),
    move.rowsTotal.toLocaleString('en'),
    move.cutoverMs === null ? '' : `${move.cutoverMs} ms`,
  ])
  const head = ['move', 'keyspace', 'slots', 'from', 'to', 'state', 'done', 'rows', 'cutover']
  const more = answer.next ? `\n\nOlder ones: npm run banyan -- moves list --cursor ${answer.next}` : ''
  return { json: answer, text: table(head, rows, 6) + more }
}

async function showMove(connect: () => Connection, [id]: string[], options: OptionValues): Promise<Output> {
  const until = readUntil(options)
  if (options.until && !options.follow) throw new UserError('--until goes with --follow.', 'Add --follow.')
  const connection = connect()
  const answer = await connection.get<{ move: Move }>(pathOf(id!))
  if (!options.follow) return { json: answer, text: details(answer.move) }
  const [move] = await followMoves([answer.move], { until, read: reader(connection), screen: process.stderr })
  return { json: { move }, text: details(move!), isFailure: hasFailed(move!) }
}

async function startMoves(
  connect: () => Connection,
  [slots, target]: string[],
  options: OptionValues,
): Promise<Output> {
  const until = readUntil(options)
  const { keyspace } = options
  const connection = connect()
  const planned = await connection.post<{ moves: Move[] }>(MOVES, { slots, target, ...(keyspace ? { keyspace } : {}) })
  if (planned.moves.length === 0) return { json: planned, text: `Nothing to move: ${target} has all of these slots.` }
  if (options['no-wait']) return { json: planned, text: planned.moves.map(planText).join('\n') }
  const moves = await followMoves(planned.moves, { until, read: reader(connection), screen: process.stderr })
  return { json: { moves }, text: moves.map(outcome).join('\n'), isFailure: moves.some(hasFailed) }
}

async function resolveMove(connect: () => Connection, [id]: string[], { choice }: OptionValues): Promise<Output> {
  if (!choice) {
    const answer = await connect().get<Sides>(`${pathOf(id!)}/sides`)
    return { json: answer, text: sidesText(answer) }
  }
  const answer = await connect().post<{ move: Move }>(`${pathOf(id!)}/resolve`, { choice })
  return { json: answer, text: `Move ${id} continues. ${watch(answer.move)}` }
}

/** Throws UserError. */
export function readUntil({ until = 'settling' }: OptionValues): 'settling' | 'done' {
  if (until === 'settling' || until === 'done') return until
  throw new UserError(`--until is "${until}".`, 'It may be settling or done.')
}

/** Reads moves again. Several are read from the list: one request a page, however many there are. */
export const reader =
  (connection: Connection) =>
  async (ids: string[]): Promise<Move[]> => {
    if (ids.length === 1) return [(await connection.get<{ move: Move }>(pathOf(ids[0]!))).move]
    const found = new Map<string, Move>()
    for (let cursor: string | null = ''; cursor !== null && !ids.every((id) => found.has(id)); ) {
      const page: Page = await connection.get(`${MOVES}?limit=100&cursor=${cursor}`)
      for (const move of page.items) found.set(move.id, move)
      cursor = page.next
    }
    return ids.map((id) => found.get(id)!)
  }

const steer =
  (verb: string, said: (move: Move) => string): Command['run'] =>
  async (connect, [id]) => {
    const answer = await connect().post<{ move: Move }>(`${pathOf(id!)}/${verb}`)
    return { json: answer, text: said(answer.move) }
  }

export const moveCommands: Record<string, Command> = {
  'moves list': { operands: [], options: ['cursor'], run: listMoves },
  'moves show': { operands: ['ID'], options: ['follow', 'until'], run: showMove },
  'moves start': { operands: ['SLOTS', 'TARGET'], options: ['keyspace', 'no-wait', 'until'], run: startMoves },
  'moves abort': {
    operands: ['ID'],
    options: [],
    run: steer('abort', (move) =>
      move.state === 'aborted' ? outcome(move) : `Move ${move.id} is being undone. ${watch(move)}`,
    ),
  },
  'moves resolve': { operands: ['ID'], options: ['choice'], run: resolveMove },
  'moves reverse': {
    operands: ['ID'],
    options: [],
    run: steer(
      'reverse',
      (move) => `Slots ${shortened(move.slots)} go back from ${move.source} to ${move.target}. ${watch(move)}`,
    ),
  },
  'moves complete': {
    operands: ['ID'],
    options: [],
    run: steer(
      'complete',
      (move) =>
        `The rows left at ${move.source} go at ${time(move.settlesAt!)}, when the last lease is over. ${watch(move)}`,
    ),
  },
}
